"""The memory that a worker does its work in: taken once, given out again and again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BLOCK = 4096
"""Bytes of a block of a disk, and of a page of memory, at which the arena begins."""
_LINE = 64
"""Bytes of a cache line, at which an array begins."""
_SPARE = 3 * BLOCK
"""Bytes that beginning there, and at whole lines, may cost."""


class Arena:
    """A stack of arrays in one block of memory. For one thread.

    Fresh memory is slow, for the system clears each page of it; and a block that is as large as the
    budget is a budget that holds. Pages that are never written to are never there.
    """

    def __init__(self, size: int) -> None:
        block = np.empty(size + _SPARE, np.uint8)
        self._block = block[-block.ctypes.data % BLOCK :]
        self._taken = 0

    @contextlib.contextmanager
    def room(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], phase: int | None = None
    ) -> Iterator[Array]:
        """An array whose values are whatever was there. Raises `MemoryError`.

        Where a `phase` is given, it begins as many bytes after the beginning of a block.
        """
        before = self._taken
        start = before if phase is None else before + (phase - before) % BLOCK
        end = start + math.prod(shape) * dtype.itemsize
        if end > self._block.size:
            raise MemoryError(f"{end} bytes are wanted of {self._block.size}")
        self._taken = end + -end % _LINE
        try:
            yield np.ndarray(shape, dtype, self._block, start)
        finally:
            self._taken = before
