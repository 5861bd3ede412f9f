"""One process at a time in a folder, or several that agree: locks of the system's.

A lock goes when its process does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mapengine.errors import OutputError, Problem, one_line

LOCK = "lock"
_PATIENCE = 10.0
"""Seconds for others to come to an agreement: they read and write a small file for it."""


@contextlib.contextmanager
def locked(folder: Path, what: str = "") -> Iterator[None]:
    """The folder, made where it is missing, for this process alone.

    Whoever removes the folder removes the lock last. `what` is in it is told to who is refused, the
    folder itself if nothing is. Raises `OutputError` where another process has it, and `OSError`.
    """
    while True:
        descriptor = _open(folder)
        try:
            if not _try(descriptor, fcntl.LOCK_EX):
                raise OutputError(_at_work(what or str(folder), descriptor))
            if _stands(descriptor, folder):
                _sign(descriptor)
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def shared(folder: Path, begin: Callable[[], None], begun: Callable[[], bool]) -> Iterator[None]:
    """The folder, made where it is missing, for all who come here; for nobody as `locked` is.

    Who is alone in it has to `begin`; the others find that it has `begun`. Those two may raise what
    they like. Raises `OutputError` where a process has it for itself, and `OSError`.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = _open(folder)
        try:
            if _try(descriptor, fcntl.LOCK_EX) and _stands(descriptor, folder):
                begin()
            # To give others a share is no single step: one of them may have it all in between.
            if _try(descriptor, fcntl.LOCK_SH) and _stands(descriptor, folder) and begun():
                _sign(descriptor)
                yield
                return
            if time.monotonic() > until:
                raise OutputError(_at_work(str(folder), descriptor))
        finally:
            os.close(descriptor)
        time.sleep(0.02)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no other process has a part in the folder; and none gets one while this lasts."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _try(descriptor, fcntl.LOCK_EX) and _stands(descriptor, folder)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    """A descriptor of the lock that stands in the folder now."""
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        with contextlib.suppress(FileNotFoundError):  # removed in between
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(folder / LOCK, flags, 0o666)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stands(descriptor: int, folder: Path) -> bool:
    """Whether it is of the lock that is there: the folder may have come and gone."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), (folder / LOCK).stat())
    return False


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _at_work(what: str, descriptor: int) -> Problem:
    holder = one_line(os.pread(descriptor, 200, 0).decode(errors="replace"))
    message = f"{what} is at work for {holder or 'another process'}"
    return Problem("ME616", message, help="wait for it, or name another output")
