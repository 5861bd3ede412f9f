"""The memory that a worker does its work in: taken once, given out again and again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_LINE = 64
"""Bytes of a cache line, at which every array begins."""
_SPARE = 64 * _LINE
"""Bytes that beginning at whole lines may cost."""


class Arena:
    """A stack of arrays in one block of memory. For one thread.

    Fresh memory is slow, for the system clears each page of it; and a block that is as large as the
    budget is a budget that holds. Pages that are never written to are never there.
    """

    def __init__(self, size: int) -> None:
        self._block = np.empty(size + _SPARE, np.uint8)
        self._taken = 0

    @contextlib.contextmanager
    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
        """An array whose values are whatever was there. Raises `MemoryError`."""
        start = self._taken
        end = start + math.prod(shape) * dtype.itemsize
        if end > self._block.size:
            raise MemoryError(f"{end} bytes are wanted of {self._block.size}")
        self._taken = end + -end % _LINE
        try:
            yield np.ndarray(shape, dtype, self._block, start)
        finally:
            self._taken = start
