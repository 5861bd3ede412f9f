"""A strided view cut into windows: short spans of its source, each to be read in one go. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Loop = tuple[int, int, int]
"""Size, stride in the source in elements, stride in the target in bytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """`span` elements from `first`; of the loops over them the outer ones stand at `index`."""

    first: int
    span: int
    index: tuple[int | slice, ...]


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

    `loops` are in source order. What lies between is read too where it is at most `gap` elements.
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
    step = max((limit - span) // stride + 1, 1) if stride - span <= gap else 1
    outer = loops[: inner - 1]
    for index in itertools.product(*(range(n) for n, _, _ in outer)):
        first = sum(i * s for i, (_, s, _) in zip(index, outer, strict=True))
        for start in range(0, n, step):
            count = min(step, n - start)
            reach = span + (count - 1) * stride
            yield Window(first + start * stride, reach, (*index, slice(start, start + count)))
