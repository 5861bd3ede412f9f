"""A file of another place, read as if it were open here: by ranges, each fetched at most once."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

Range = tuple[int, int]
"""The first byte and the one after the last."""

GAP = 2**20
"""Bytes between two ranges that are rather read too than left for another request."""
_FIRST = 2**18
"""Bytes that are fetched at once, where less is asked for: about what a request takes in time."""
_MOST = 2**23
"""And at the most, where one is asked for after the other."""
SMALL = 2**20
"""Files up to this size are fetched whole."""
_HELD = 2**26
"""Bytes that are kept of a file."""
_NEAR = 2**14
"""What joins the small ranges of headers, which lie between data that nobody asked for."""


def joined(ranges: Iterable[Range], gap: int = GAP) -> list[Range]:
    """The ranges in order, as one where they overlap or lie at most `gap` apart."""
    whole: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if whole and start - whole[-1][1] <= gap:
            whole[-1] = whole[-1][0], max(whole[-1][1], end)
        else:
            whole.append((start, end))
    return whole


def cut(ranges: Iterable[Range], size: int) -> Iterator[Range]:
    """The ranges in parts of nearly the same size, none of them larger than `size`."""
    for start, end in ranges:
        parts = -(-(end - start) // size)
        bounds = [start + (end - start) * i // parts for i in range(parts + 1)]
        yield from pairwise(bounds)


class RangedFile(io.RawIOBase):
    """A file of `size` bytes that `fetch` gives ranges of, in their order. For its small parts.

    What was fetched is kept, as far as it is small, until the file is closed. `stamp` is what tells
    it from a later one of its name; `head` is what it begins with, as far as that is known.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[Range]], Sequence[bytes]],
        size: int,
        stamp: tuple[int | str, ...],
        head: bytes = b"",
    ) -> None:
        self.size = size
        self.stamp = stamp
        self._fetch = fetch
        self._at = 0
        self._held = [(0, head)] if head else []
        self._last = (0, b"")
        self._step = _FIRST

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, or as much of it as the file has left."""
        data = memoryview(buffer).cast("B")
        start, end = self._at, min(self._at + len(data), self.size)
        while self._at < end:
            part = self._part(self._at, end)
            data[self._at - start : self._at - start + len(part)] = part
            self._at += len(part)
        return max(self._at - start, 0)

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Fetches small ranges that will be read, those that are near as one, others at once."""
        missing = [one for one in ranges if self._holding(one[0]) is None]
        wanted = joined([(max(a, 0), min(b, self.size)) for a, b in missing], _NEAR)
        if wanted:
            for (start, _), data in zip(wanted, self._fetch(wanted), strict=True):
                self._hold(start, data)

    def _part(self, at: int, end: int) -> memoryview:
        """Some bytes from `at`, of what is held or was fetched for it."""
        start, data = self._holding(at) or self._fetched(at, end)
        return memoryview(data)[at - start : end - start]

    def _fetched(self, at: int, end: int) -> tuple[int, bytes]:
        """The range, and more: all that is asked for later is likely to be near."""
        follows = at == self._last[0] + len(self._last[1])
        self._step = min(2 * self._step, _MOST) if follows else _FIRST
        start, stop = at, max(end, at + self._step)
        if self.size <= SMALL:
            start, stop = 0, self.size
        elif at >= self.size - _FIRST:  # archives are read from their end
            start = self.size - _FIRST
        start, stop = start, min(stop, self.size)
        (data,) = self._fetch([(start, stop)])
        self._last = start, data
        if len(data) <= SMALL:
            self._hold(start, data)
        return self._last

    def _holding(self, at: int) -> tuple[int, bytes] | None:
        """What is held that has the byte."""
        found = bisect_right(self._held, at, key=lambda one: one[0]) - 1
        for start, data in (self._last, *reversed(self._held[max(found - 1, 0) : found + 1])):
            if start <= at < start + len(data):
                return start, data
        return None

    def _hold(self, start: int, data: bytes) -> None:
        if sum(len(held) for _, held in self._held) < _HELD:
            place = bisect_right(self._held, start, key=lambda one: one[0])
            self._held.insert(place, (start, data))
