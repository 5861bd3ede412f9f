"""A strided view cut into windows: spans of its source that are read, then put in order. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mapengine.views import View

Loop = tuple[int, int, int]
"""Size, stride in the source in elements, stride in the target in bytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """`runs` times `span` elements, from `first` and `apart`; the outer loops stand at `index`.

    Several runs are those of one loop, whose part `index` ends with.
    """

    first: int
    span: int
    index: tuple[int | slice, ...]
    runs: int = 1
    apart: int = 0

    @property
    def starts(self) -> Iterator[int]:
        """Where each run begins."""
        return (self.first + i * self.apart for i in range(self.runs))


def loops_of(view: View, steps: Sequence[int]) -> list[Loop]:
    """The loops over a view, in source order; a step along each of its axes goes so many bytes."""
    loops = []
    for axis, step in zip(view.axes, steps, strict=True):
        inner = math.prod(n for n, _ in axis)
        for n, stride in axis:
            inner //= n
            loops.append((n, stride, step * inner))
    return in_source_order(loops)


def in_source_order(loops: Sequence[Loop]) -> list[Loop]:
    """The loops, the longest stride in the source first, and as few of them as can be."""
    merged: list[Loop] = []
    for n, stride, step in sorted(loops, key=lambda loop: (-loop[1], -loop[2])):
        if n == 1:
            continue
        if merged and merged[-1][1:] == (n * stride, n * step):
            merged[-1] = (merged[-1][0] * n, stride, step)
        else:
            merged.append((n, stride, step))
    return merged


def windows(loops: Sequence[Loop], limit: int, gap: int) -> Iterator[Window]:
    """Windows of at most `limit` elements, in source order, that together see all there is.

    `loops` are in source order. What lies between is read too where it is at most `gap` elements,
    else left out: so many runs as fit are taken together, for to turn them one by one is slow.
    """
    inner, span = len(loops), 1
    while inner:
        n, stride, _ = loops[inner - 1]
        if stride - span > gap or span + (n - 1) * stride > limit:
            break
        span += (n - 1) * stride
        inner -= 1
    if not inner:
        yield Window(0, span, ())
        return
    n, stride, _ = loops[inner - 1]
    near = stride - span <= gap
    step = max((limit - span) // stride + 1 if near else limit // span, 1)
    outer = loops[: inner - 1]
    for index in itertools.product(*(range(n) for n, _, _ in outer)):
        first = sum(i * s for i, (_, s, _) in zip(index, outer, strict=True))
        for start in range(0, n, step):
            count, at = min(step, n - start), first + start * stride
            inside: tuple[int | slice, ...] = (*index, slice(start, start + count))
            if near:
                yield Window(at, span + (count - 1) * stride, inside)
            else:
                yield Window(at, span, inside, count, stride)
