"""The axes of a strided view: lists of parts that can be flattened and cut without a copy. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

Part = tuple[int, int]
"""Size and stride, in elements."""
Axis = tuple[Part, ...]
_SHAPES = 4096
"""How many are remembered of what is worked out for a shape: a model has few."""


@lru_cache(maxsize=_SHAPES)
def plain_axes(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[Axis, ...]:
    """Axes of one part each."""
    return tuple(canonical(((n, s),)) for n, s in zip(shape, strides, strict=True))


@lru_cache(maxsize=_SHAPES)
def merged(axes: tuple[Axis, ...]) -> Axis:
    """The parts of all axes as one axis."""
    return canonical(tuple(part for axis in axes for part in axis))


def canonical(axis: Axis) -> Axis:
    """The same positions in as few parts as possible: units dropped, neighbours merged."""
    merged: list[Part] = []
    for size, stride in axis:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def carve(parts: Axis, shape: tuple[int, ...]) -> tuple[Axis, ...] | None:
    """`parts` dealt out over axes of the sizes of `shape`; None where a cut falls inside a part."""
    left, axes = list(parts), []
    for size in reversed(shape):
        axis: list[Part] = []
        while size > 1:
            n, stride = left.pop()
            if size % n == 0:
                axis.insert(0, (n, stride))
                size //= n
            elif n % size == 0:
                axis.insert(0, (size, stride))
                left.append((n // size, stride * size))
                size = 1
            else:
                return None
        axes.append(canonical(tuple(axis)))
    return tuple(reversed(axes))


def cuts(axis: Axis, start: int, length: int) -> Iterator[tuple[Axis, int, int]]:
    """Positions `start` to `start + length` of an axis: parts, offset of the first, and how many.

    One cut where whole blocks of the inner parts are taken, else one for each ragged end too.
    """
    if not axis:
        yield (), 0, length
        return
    stride, inner = axis[0][1], axis[1:]
    block = math.prod(n for n, _ in inner)
    while length:
        outer, skipped = divmod(start, block)
        if skipped or length < block:
            taken = min(block - skipped, length)
            for cut, offset, size in cuts(inner, skipped, taken):
                yield cut, outer * stride + offset, size
        else:
            taken = length - length % block
            yield canonical(((taken // block, stride), *inner)), outer * stride, taken
        start, length = start + taken, length - taken
