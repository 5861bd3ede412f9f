"""Folders of other places, by URL: the one file that imports fsspec.

Names, sizes and what tells one version of a file from another come from one listing. Bytes are
asked for by range and by nothing else. fsspec's own caches and retries are passed by: the first
fetch megabytes for a header, the second do not know what can pass.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mapengine.checkpoints.blocks import FETCHERS
from mapengine.checkpoints.ranges import SMALL, Range, RangedFile
from mapengine.checkpoints.refusals import refused, refusing
from mapengine.checkpoints.retries import ShortAnswer, retried, status_of
from mapengine.errors import CheckpointError, Problem, SourceChangedError
from mapengine.locations import URL
from mapengine.specs import is_plain_name

_HEADS = 32
_VERSION = ("version_id", "VersionId", "generation", "ETag", "etag", "blob_id", "md5Hash")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
S3 = {
    "retries": {"total_max_attempts": 1},
    "max_pool_connections": 2 * FETCHERS,
    "connect_timeout": 10,
    "read_timeout": 30,
}
"""How botocore is set up, unless fsspec's configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a listing tells of it. `tag` is its ETag, where it has one."""

    path: str
    size: int
    stamp: tuple[int | str, ...]
    changed_ns: int | None
    tag: str | None


@lru_cache(maxsize=32)
def connect(url: URL) -> RemoteFolder:
    """The folder at a URL: one and the same for all who ask. Raises `CheckpointError`."""
    with refusing(url):
        fs, root, changed = retried(lambda: _file_system(url))
    return RemoteFolder(url, fs, root, changed)


class RemoteFolder:
    """The files in a folder of another place. Safe to use from several threads."""

    def __init__(self, url: URL, fs: Any, root: str, changed: Any = None) -> None:
        self.url = url
        self._changed = changed
        self.fs = fs
        self.root = root
        self._lock = threading.Lock()
        self._entries: Mapping[str, Entry] | None = None
        self._heads: OrderedDict[Entry, bytes] = OrderedDict()
        self._pool = ThreadPoolExecutor(FETCHERS, "mapengine-fetch")

    @property
    def pinned(self) -> URL:
        """Its URL, with the commit in place of a revision that may come to stand for another."""
        return URL(f"hf://{self.root}") if self.url.scheme == "hf" else self.url

    def names_there(self) -> frozenset[str]:
        """The names of all that is in the folder now, folders too; none where it is not there."""
        return frozenset(str(one["name"]).rstrip("/").rpartition("/")[2] for one in self._listed())

    def entries(self, fresh: bool = False, may_be_missing: bool = False) -> Mapping[str, Entry]:
        """The files by name. Raises `CheckpointError` where there is no folder, and must be."""
        with self._lock:
            if self._entries is None or fresh:
                listed = self._listed() if may_be_missing else self._ls()
                self._entries = dict(_files(listed, self.root, self._changed))
                if may_be_missing:
                    return self._entries
                whole = [str(info["name"]).strip("/") for info in listed]
                if whole in ([], [self.root.strip("/")]) and not self._entries:
                    what = "is a file, and no folder" if whole else "there is nothing"
                    raise CheckpointError(Problem("ME501", f"{self.url}: {what}"))
            return self._entries

    def _ls(self) -> list[dict[str, Any]]:
        with refusing(self.url):
            return list(retried(lambda: self.fs.ls(self.root, detail=True, refresh=True)))

    def _listed(self) -> list[dict[str, Any]]:
        """What is in the folder; nothing where it is not there."""
        try:
            listed = self._ls()
        except CheckpointError as error:
            if not isinstance(error.__cause__, FileNotFoundError) or status_of(error) == 404:
                raise  # a bucket that is not there
            return []
        return [one for one in listed if str(one["name"]).strip("/") != self.root.strip("/")]

    def entry(self, name: str) -> Entry:
        """What the listing says of a file. Raises `CheckpointError`."""
        found = self.entries().get(name)
        if found is None:
            raise CheckpointError(Problem("ME501", f"{self.url / name}: No such file"))
        return found

    def open(self, name: str) -> RangedFile:
        entry = self.entry(name)
        head = self._heads.get(entry, b"")
        return RangedFile(
            lambda ranges: self.fetch_all(name, entry, ranges), entry.size, entry.stamp, head
        )

    def fetch_all(self, name: str, entry: Entry, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of some ranges, several fetched at a time.

        A beginning is kept for a while: a file is often opened again, to see what kind it is.
        """
        if len(ranges) > 1:
            return list(self._pool.map(lambda one: self.fetch(name, entry, *one), ranges))
        data = self.fetch(name, entry, *ranges[0])
        if ranges[0][0] == 0 and len(data) <= SMALL:
            with self._lock:
                self._heads[entry] = data
                if len(self._heads) > _HEADS:
                    self._heads.popitem(last=False)
        return [data]

    def fetch(self, name: str, entry: Entry, start: int, end: int) -> bytes:
        """The bytes of a range. Raises `CheckpointError`, `SourceChangedError`."""
        if start >= end:
            return b""

        def ask() -> bytes:
            data = self._range(entry, start, end)
            if len(data) != end - start:
                raise ShortAnswer(f"{len(data):,} bytes came of {end - start:,}")
            return data

        try:
            return retried(ask)
        except Exception as error:
            if status_of(error) == 412:  # it is not the one that was listed
                message = f"{name} has changed since it was planned"
                raise SourceChangedError(Problem("ME615", message, help="run it again")) from None
            raise refused(error, self.url / name) from error

    def _range(self, entry: Entry, start: int, end: int) -> bytes:
        if hasattr(self.fs, "_call_s3") and entry.tag:
            from fsspec.asyn import sync

            return bytes(sync(self.fs.loop, _s3_range, self.fs, entry, start, end))
        if hasattr(self.fs, "resolve_path"):
            from mapengine.checkpoints.hub import hub_range

            return hub_range(self.fs, entry.path, start, end)
        return bytes(self.fs.cat_file(entry.path, start=start, end=end))


async def _s3_range(fs: Any, entry: Entry, start: int, end: int) -> bytes:
    """A range of the very object that was listed: `cat_file` would take any that has its name."""
    bucket, key, _ = fs.split_path(entry.path)
    answer = await fs._call_s3(
        "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=entry.tag
    )
    async with answer["Body"] as body:
        return bytes(await body.read())


def _file_system(url: URL) -> tuple[Any, str, Any]:
    """fsspec's file system for a URL, the folder in its words, and when it changed, if known."""
    try:
        import fsspec
        from fsspec.config import conf
    except ImportError as error:
        raise _missing(url) from error
    options: dict[str, Any] = {}
    if _EXTRAS.get(url.scheme) == "s3":
        ours = {**S3, **conf.get("s3", {}).get("config_kwargs", {})}
        options = {"config_kwargs": ours, "skip_instance_cache": True, "use_listings_cache": False}
    try:
        fs, root = fsspec.url_to_fs(url.text, **options)
    except ImportError as error:
        raise _missing(url) from error
    except ValueError as error:
        message = f"{url}: no kind of place that is known here: {url.scheme}://"
        raise CheckpointError(Problem("ME520", message)) from error
    if options:
        fs.retries = 1  # `retried` does it
    if url.scheme == "hf":
        from mapengine.checkpoints.hub import at_commit

        return fs, *at_commit(fs, root)
    return fs, root, None


def _missing(url: URL) -> CheckpointError:
    extra = _EXTRAS.get(url.scheme)
    help = f"pip install 'mapengine[{extra}]'" if extra else "install what fsspec needs for it"
    message = f"{url}: what reads {url.scheme}:// is not installed"
    return CheckpointError(Problem("ME520", message, help=help))


def _files(
    listed: Sequence[Mapping[str, Any]], root: str, changed: Any
) -> Iterator[tuple[str, Entry]]:
    """The files of a listing whose names are plain ones: others lead out of the folder.

    They changed when `changed` says, where the listing does not tell of each.
    """
    for info in listed:
        path = str(info["name"])
        name = path.rstrip("/").rpartition("/")[2]
        if info["type"] != "file" or not is_plain_name(name) or path.strip("/") == root.strip("/"):
            continue
        size = int(info["size"] or 0)
        versions = [str(info[key]) for key in _VERSION if info.get(key)]
        times = [info[key] for key in _TIMES if info.get(key)]
        stamp = (size, *(versions or map(str, times)))
        changed_ns = _nanoseconds(times[0] if times else changed)
        yield name, Entry(path, size, stamp, changed_ns, info.get("ETag"))


def _nanoseconds(time: Any) -> int | None:
    stamp = time.timestamp() if hasattr(time, "timestamp") else time
    return int(stamp * 10**9) if isinstance(stamp, int | float) else None
