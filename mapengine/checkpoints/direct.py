"""Files written past the page cache: what must be on the disk at the end need not be copied twice.

`O_DIRECT` takes whole blocks only, from memory that begins at one. And Linux does not promise what
comes of a file that is written in both ways at once: so the blocks in which two writes meet are put
together here first, and what never becomes whole is written the usual way when all else is done.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from mapengine.checkpoints import storage
from mapengine.checkpoints.arena import BLOCK


@dataclass(slots=True)
class _Block:
    """A block that comes in parts, and where those lie in it."""

    data: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, BLOCK))
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return sum(stop - start for start, stop in self.spans) == BLOCK


def is_possible(folder: Path) -> bool:
    """Whether files of a folder go straight to a device of blocks: not to memory, nor elsewhere."""
    return hasattr(os, "O_DIRECT") and os.major(folder.stat().st_dev) != 0


class DirectFile:
    """A file of which every byte is written once. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: dict[int, _Block] = {}
        self._lock = threading.Lock()

    def write(self, to: int, data: memoryview) -> None:
        """Writes bytes at an offset, from an address that lies in a block as they will in the file.

        Parts of blocks may stay here until `finish`. Raises `OSError`.
        """
        end = to + len(data)
        first = min(to + -to % BLOCK, end)
        last = max(end - end % BLOCK, first)
        descriptor = _open(self._path)
        try:
            if first < last:
                _write(descriptor, first, data[first - to : last - to])
            for start, stop in ((to, first), (last, end)):
                if start < stop:
                    self._add(descriptor, start, data[start - to : stop - to])
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Writes what is left. To be called when no `write` is under way."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for at, block in self._blocks.items():
                for start, stop in block.spans:
                    storage.write_at(descriptor, at + start, memoryview(block.data)[start:stop])
        finally:
            os.close(descriptor)
        self._blocks.clear()

    def _add(self, descriptor: int, to: int, data: memoryview) -> None:
        """Adds a part of a block, and writes the block if that makes it whole."""
        start = to % BLOCK
        at, stop = to - start, start + len(data)
        with self._lock:
            block = self._blocks.setdefault(at, _Block())
            block.data[start:stop] = data
            block.spans.append((start, stop))
            if not block.is_whole:
                return
            del self._blocks[at]
        _write(descriptor, at, memoryview(block.data))


def _open(path: Path) -> int:
    """A descriptor for direct writing; for the usual kind where the file system knows no other."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags)


def _write(descriptor: int, to: int, data: memoryview) -> None:
    """Writes whole blocks, the usual way where they are refused in the direct one."""
    while len(data):
        try:
            done = os.pwrite(descriptor, data, to)
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            continue
        data, to = data[done:], to + done
