"""mapengine with storage of a stated speed: so many bytes a second for it, and for all together.

python -m benchmarks.slow NODE TOTAL FILE -- run MAPPING …

NODE is what one process may move, reading and writing, TOTAL what all that name the same FILE may;
in bytes a second. What storage is asked for waits until that much time has gone by.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
import time
from typing import Any

_LATEST = struct.Struct("d")
_BEHIND = 0.2
"""Seconds that may be caught up on: a sleep takes a little longer than it was told to."""


class Limits:
    """When the next bytes may go: a time for this process, and one in a file for all."""

    def __init__(self, node: float, total: float, path: str) -> None:
        self._node, self._total = node, total
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, nbytes: int) -> None:
        with self._lock:
            now = time.time() - _BEHIND
            self._next = max(self._next, now) + nbytes / self._node
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                told = os.pread(self._file, _LATEST.size, 0)
                latest = _LATEST.unpack(told)[0] if told else 0.0
                latest = max(latest, now) + nbytes / self._total
                os.pwrite(self._file, _LATEST.pack(latest), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
            until = max(self._next, latest)
        time.sleep(max(until - time.time(), 0.0))


class SlowOs:
    """`os`, but what moves bytes of files takes its time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def preadv(self, *words: Any) -> int:
        return self._slowly(os.preadv(*words))

    def pwrite(self, *words: Any) -> int:
        return self._slowly(os.pwrite(*words))

    def copy_file_range(self, *words: Any) -> int:
        done = os.copy_file_range(*words)
        self._limits.wait(2 * done)  # read, and written
        return done

    def _slowly(self, done: int) -> int:
        self._limits.wait(done)
        return done


def main() -> None:
    node, total, path = sys.argv[1:4]
    from mapengine import cli
    from mapengine.checkpoints import direct, storage

    vars(storage)["os"] = SlowOs(Limits(float(node), float(total), path))
    vars(direct)["is_possible"] = lambda folder: False  # it has an `os` of its own
    sys.argv = ["mapengine", *sys.argv[5:]]
    cli.main()


if __name__ == "__main__":
    main()
