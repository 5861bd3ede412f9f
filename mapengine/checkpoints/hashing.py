"""Files read once more: whether they are still what was written, and their SHA-256 by tensor."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from mapengine.checkpoints import storage
from mapengine.checkpoints.journal import Finished
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import CheckpointError, MapengineError, Problem
from mapengine.executors import EXECUTORS, check_stopped, default_workers
from mapengine.formats import recognise
from mapengine.specs import FileContents

_CHUNK = 2**20


def hashes(file: BinaryIO, tensors: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """The SHA-256 of a file and of each of its `tensors`, which lie at an offset, so many bytes.

    The file is read once, from its beginning to its end. Raises `OSError`.
    """
    whole = hashlib.sha256()
    of_tensors = {key: hashlib.sha256() for key in tensors}
    bounds = sorted((at, at + size, key) for key, (at, size) in tensors.items() if size)
    room = memoryview(bytearray(_CHUNK))
    at = 0
    while count := os.preadv(file.fileno(), [room], at):
        check_stopped()
        whole.update(room[:count])
        while bounds and bounds[0][0] < at + count:
            start, end, key = bounds[0]
            inside = room[max(start - at, 0) : min(end - at, count)]
            of_tensors[key].update(inside)
            if end > at + count:
                break
            bounds.pop(0)
        at += count
    return {
        "file": whole.hexdigest(),
        "tensors": {key: one.hexdigest() for key, one in of_tensors.items()},
    }


def still_whole(folder: Path, files: Sequence[Finished]) -> Iterable[Finished]:
    """Those of the files that are there and are, byte for byte, what was written."""
    run = EXECUTORS["local"]
    whole = run(lambda one: _is_whole(folder / one.name, one), files, default_workers())
    return [one for one, good in zip(files, whole, strict=True) if good]


def still_there(folder: Path, files: Sequence[Finished]) -> Iterable[Finished]:
    """Those of the files that have the size and the time that they had when they were written."""
    for one in files:
        with contextlib.suppress(OSError):
            status = (folder / one.name).lstat()
            if (status.st_size, status.st_mtime_ns) == (one.size, one.mtime_ns):
                yield one


def check_sources(source: SourceFolder, files: Mapping[str, FileContents]) -> None:
    """Holds the data of files to the checksums that they state. Raises `CheckpointError`."""
    problems = EXECUTORS["local"](lambda n: _damage(source, n), files, default_workers())
    if found := [problem for one in problems for problem in one]:
        raise CheckpointError(*found)


def _damage(source: SourceFolder, name: str) -> Sequence[Problem]:
    try:
        with source.open(name) as file:
            if format := recognise(name, file.read(16)):
                format.check(file, name)
    except CheckpointError as error:
        return error.problems
    return ()


def _is_whole(path: Path, told: Finished) -> bool:
    try:
        with storage.open_file(path) as file:
            size, mtime = storage.size_and_time(file)
            if (size, mtime) != (told.size, told.mtime_ns):
                return False
            if told.sha256 is not None:  # of every byte of it
                return bool(hashes(file, {})["file"] == told.sha256["file"])
            room = memoryview(bytearray(_CHUNK))
            for at, length, digest in told.digests:
                if _xxh3(file.fileno(), at, length, room) != digest:
                    return False
    except (MapengineError, storage.ReadError):
        return False
    return True


def _xxh3(file: int, at: int, length: int, room: memoryview) -> int:
    """The digest of a range. Raises `ReadError`."""
    whole = xxhash.xxh3_64()
    for start in range(at, at + length, len(room)):
        check_stopped()
        part = room[: min(len(room), at + length - start)]
        storage.read_at(file, start, part)
        whole.update(part)
    return whole.intdigest()
