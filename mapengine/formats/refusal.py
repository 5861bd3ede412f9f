"""How a format says no: in the codes ME501 to ME517."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from mapengine.errors import CheckpointError, Problem, one_line

_SHOWN = 80  # characters of a hostile file's words that may reach a message


class FormatError(ValueError):
    """What is wrong with a file, said by a part that does not know the file's name."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.help = help


@contextmanager
def refusals_about(name: str) -> Iterator[None]:
    """Turns a `FormatError` into the `CheckpointError` that says which file."""
    try:
        yield
    except FormatError as refusal:
        message = f"{one_line(name)}: {refusal}"
        raise CheckpointError(Problem(refusal.code, message, help=refusal.help)) from None


def shown(text: str) -> str:
    """`text` quoted for a message: escaped, and never long."""
    return ascii(text) if len(text) <= _SHOWN else ascii(text[:_SHOWN]) + "..."


def refuse_pointer(head: bytes) -> None:
    """Refuses the few lines that stand for a large file in a repository cloned without it."""
    if head.startswith(b"version https://git-lfs"):
        raise FormatError("ME501", "a Git LFS pointer, not the file itself", "run: git lfs pull")


def size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def prefetch(file: BinaryIO, ranges: Sequence[tuple[int, int]]) -> None:
    """Says which small ranges will be read, to a file that gains by knowing: one far away."""
    if hasattr(file, "prefetch"):
        file.prefetch(ranges)


def read_exactly(file: BinaryIO, offset: int, length: int) -> bytes:
    """The bytes there; `length` must have been checked to be reasonable."""
    file.seek(offset)
    found = file.read(length)
    if len(found) < length:
        raise FormatError("ME502", f"truncated: needs {length} bytes at {offset}, has {len(found)}")
    return found
