"""One process at a time in a folder: a lock of the system's, which goes when its process does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from mapengine.errors import OutputError, Problem, one_line

LOCK = "lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, for this process alone.

    Whoever removes the folder removes the lock last. Raises `OutputError` where another process
    has it, and `OSError`.
    """
    descriptor = _acquire(folder)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(folder: Path) -> int:
    """A descriptor of the lock that stands in the folder now: the folder may have come and gone."""
    path = folder / LOCK
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:  # removed in between
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            holder = one_line(os.pread(descriptor, 200, 0).decode(errors="replace"))
            os.close(descriptor)
            message = f"{folder.parent / folder.name} is at work for {holder or 'another process'}"
            raise OutputError(
                Problem("ME616", message, help="wait for it, or name another output")
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
