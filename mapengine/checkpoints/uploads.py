"""Files written to another place, each whole or not at all.

`open(path, "wb")` of fsspec publishes what was written so far when something fails. So files are
made here first. To S3 they go in parts, which become an object when the last of them is there; if
that is not to be, they are thrown away, for they would be paid for. Other places are given the
whole file by their own tool.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from mapengine.checkpoints.refusals import refusing
from mapengine.checkpoints.remote import Entry, RemoteFolder
from mapengine.checkpoints.retries import retried, status_of
from mapengine.errors import CheckpointError, Problem
from mapengine.executors import check_stopped, heed

PART = 2**23
"""Bytes of a part, or more where a file would have too many of them."""
MOST_PARTS = 10_000
MOST_READ = 2**26
AT_ONCE = 4
"""Parts of a file that are sent at a time: each is in memory then."""
_PATIENCE = 0.2
"""Seconds between two looks whether all was given up."""


class Uploads:
    """Writes below a folder of another place. Safe to use from several threads."""

    def __init__(self, folder: RemoteFolder) -> None:
        self.folder = folder
        self._fs = folder.fs
        self._is_s3 = hasattr(self._fs, "call_s3")

    def path(self, name: str) -> str:
        return f"{self.folder.root}/{name}"

    def put(self, name: str, data: bytes, *, new: bool = False, instead_of: str = "") -> str:
        """Writes a small file, and gives its tag.

        Raises `FileExistsError` where it is to be `new` and is there, or is to be `instead_of` the
        one with a tag and another stands there; `CheckpointError`.
        """
        with self._refusing(name):
            if not self._is_s3:
                mode = "create" if new else "overwrite"
                retried(lambda: self._fs.pipe_file(self.path(name), data, mode=mode))
                return ""
            condition = {"IfNoneMatch": "*"} if new else {}
            condition |= {"IfMatch": instead_of} if instead_of else {}
            answer = retried(lambda: self._call("put_object", name, Body=data, **condition))
            return str(answer["ETag"])

    def upload(self, name: str, path: Path) -> Entry:
        """Writes a file of this machine; what the place says of it then. Raises `CheckpointError`.

        It is held against the size of the file.
        """
        size = path.stat().st_size
        with self._refusing(name):
            if not self._is_s3:
                retried(lambda: self._fs.put_file(str(path), self.path(name)))
            elif size <= PART:
                data = path.read_bytes()
                retried(lambda: self._call("put_object", name, Body=data))
            else:
                self._in_parts(name, path, size)
            found = self.entry(name)
        if found is None or found.size != size:
            there = "nothing" if found is None else f"{found.size:,} bytes"
            message = f"{self.folder.url / name}: {size:,} bytes were sent, and {there} is there"
            raise CheckpointError(Problem("ME522", message))
        return found

    def entry(self, name: str) -> Entry | None:
        """What the place says of a file now; None where it is not there."""
        path = self.path(name)
        if self._is_s3:
            try:
                told = retried(lambda: self._call("head_object", name))
            except FileNotFoundError:
                return None
            size, tag = int(told["ContentLength"]), str(told["ETag"])
            return Entry(path, size, (size, tag), None, tag)
        self._fs.invalidate_cache()
        if not retried(lambda: self._fs.exists(path)):
            return None
        size = int(retried(lambda: self._fs.info(path))["size"])
        return Entry(path, size, (size,), None, None)

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in a small file; an empty one where it is not there, or no such."""
        with self._refusing(name):
            try:
                data = retried(lambda: self._fs.cat_file(self.path(name), start=0, end=MOST_READ))
                told = json.loads(data)
            except (FileNotFoundError, ValueError, RecursionError):
                return {}
        return told if isinstance(told, dict) else {}

    def silence(self, name: str) -> float:
        """For how many seconds a file was not written, by the clock of the place; 0 for unknown."""
        if not self._is_s3:
            return 0.0
        told = retried(lambda: self._call("head_object", name))
        now = parsedate_to_datetime(told["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - told["LastModified"]).total_seconds())

    def remove(self, names: Iterable[str]) -> None:
        """Removes files, those that are there. Raises `CheckpointError`."""
        for name in names:
            with self._refusing(name), contextlib.suppress(FileNotFoundError):
                retried(partial(self._remove, name))

    def _remove(self, name: str) -> None:
        if self._is_s3:
            self._call("delete_object", name)
        else:
            self._fs.rm_file(self.path(name))

    def abandon(self) -> None:
        """Throws away the parts that a killed run has sent. Raises `CheckpointError`."""
        if not self._is_s3:
            return
        bucket, prefix, _ = self._fs.split_path(self.path(""))
        with self._refusing(""):
            while True:
                told = retried(
                    lambda: self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
                )
                for one in told.get("Uploads", []):
                    self._abort(bucket, one["Key"], one["UploadId"])
                if not told.get("IsTruncated"):
                    return

    def _in_parts(self, name: str, path: Path, size: int) -> None:
        upload = retried(lambda: self._call("create_multipart_upload", name))["UploadId"]
        try:
            parts = self._send(name, path, size, upload)
            retried(
                lambda: self._call(
                    "complete_multipart_upload", name, UploadId=upload,
                    MultipartUpload={"Parts": parts},
                )
            )  # fmt: skip
        except BaseException as error:
            if status_of(error) == 404 and self.entry(name):
                return  # it was completed, and the answer lost on the way
            bucket, key, _ = self._fs.split_path(self.path(name))
            self._abort(bucket, key, upload)
            raise

    def _send(self, name: str, path: Path, size: int, upload: str) -> list[dict[str, Any]]:
        """Sends all parts, a few at a time, and gives what completes them."""
        length = max(PART, -(-size // MOST_PARTS))

        def send(number: int, data: bytes) -> dict[str, Any]:
            told = retried(
                lambda: self._call(
                    "upload_part", name, UploadId=upload, PartNumber=number, Body=data
                )
            )
            return {"PartNumber": number, "ETag": told["ETag"]}

        sent: list[Future[dict[str, Any]]] = []
        stop = threading.Event()
        with (
            path.open("rb") as file,
            ThreadPoolExecutor(AT_ONCE, initializer=heed, initargs=(stop,)) as pool,
        ):
            try:
                for number, data in enumerate(iter(lambda: file.read(length), b""), 1):
                    sent.append(pool.submit(send, number, data))
                    _settle(sent, AT_ONCE)
                _settle(sent, 1)
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [one.result() for one in sent]

    def _abort(self, bucket: str, key: str, upload: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # someone else has
            _patient(
                lambda: self._fs.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload
                )
            )

    def _call(self, method: str, name: str, **more: Any) -> Any:
        bucket, key, _ = self._fs.split_path(self.path(name))
        return self._fs.call_s3(method, Bucket=bucket, Key=key, **more)

    @contextlib.contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            with refusing(self.folder.url / name):
                yield
        except CheckpointError as error:
            if isinstance(error.__cause__, FileExistsError) or status_of(error) == 412:
                raise FileExistsError(str(self.folder.url / name)) from None
            raise


def _settle(sent: list[Future[dict[str, Any]]], most: int) -> None:
    """Waits until fewer than `most` are under way. Raises the first error of any."""
    while True:
        check_stopped()
        under_way = [one for one in sent if not one.done()]
        for one in sent:
            if one.done():
                one.result()
        if len(under_way) < most:
            return
        wait(under_way, _PATIENCE, "FIRST_COMPLETED")


def _patient(call: Callable[[], Any]) -> None:
    """Does what has to be done though all was given up."""
    from mapengine.checkpoints.retries import TRIES, may_pass

    for tried in range(TRIES):
        try:
            call()
            return
        except Exception as error:
            if tried == TRIES - 1 or not may_pass(error):
                raise
