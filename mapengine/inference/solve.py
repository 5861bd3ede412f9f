"""The exact way from some tensors to others that hold the same elements."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mapengine.inference.arrangement import Arrangement, Part, arrangement
from mapengine.inference.fingerprints import (
    Array,
    complement,
    count,
    in_order,
    lines,
    matched,
    mixed,
    subsets,
)
from mapengine.inference.uneven import PartlyTurned, Regrouped, moved

_MOST_SWAPS = 4096


def arrange(source: Array, target: Array) -> Arrangement | PartlyTurned | Regrouped | None:
    """How the target's elements lie in the source; None where they do not, or not by digits.

    Lines of the two are paired by the hash of their elements; once the lines lie in the same
    order, what runs across them is paired by a hash that minds it.
    """
    if source.size != target.size:
        return None
    ours, theirs = np.squeeze(source), np.squeeze(target)
    found = _flat(ours, theirs) or _crossed(ours, theirs)
    if isinstance(found, Arrangement):
        return Arrangement(
            found.sizes, _spread(found.source, source.shape), _spread(found.target, target.shape)
        )
    return found


def _spread(
    axes: tuple[tuple[int, ...], ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """The digits of all axes, of those of one too."""
    left = iter(axes)
    return tuple(next(left) if size != 1 else () for size in shape)


def _flat(source: Array, target: Array) -> Arrangement | None:
    """The same elements in the same order, or moved by one swap of two digits of a vector."""
    every = tuple(range(source.ndim)), tuple(range(target.ndim))
    ours, theirs = source.reshape(-1), target.reshape(-1)
    if np.array_equal(ours, theirs):
        return arrangement([Part(*every, np.arange(ours.size))], source.shape, target.shape)
    if min(source.ndim, target.ndim) > 1 or ours.size < 4:
        return None
    for places in _swaps(ours.size):
        if np.array_equal(ours[places[:16]], theirs[:16]) and np.array_equal(ours[places], theirs):
            found = arrangement([Part(*every, places)], source.shape, target.shape)
            if found is not None:
                return found
    return None


def _swaps(size: int) -> Iterator[Array]:
    """The orders that come of a vector by swapping two digits of its index that are neighbours."""
    divisors = [n for n in range(1, min(size, _MOST_SWAPS) + 1) if size % n == 0]
    for outer in divisors:
        for middle in (n for n in divisors if n > 1 and size // outer % n == 0):
            inner = size // outer // middle
            if inner > 1:
                places = np.arange(size).reshape(outer, middle, inner)
                yield places.swapaxes(1, 2).reshape(-1)
                if outer > 1:
                    yield places.swapaxes(0, 1).reshape(-1)


def _crossed(source: Array, target: Array) -> Arrangement | PartlyTurned | Regrouped | None:
    """Two sets of axes on either side, the lines of one crossing those of the other."""
    ours, theirs = mixed(source), mixed(target)
    turned: PartlyTurned | Regrouped | None = None
    for left, right in _pairs(source.shape, target.shape):
        rows = matched(lines(theirs, right), lines(ours, left))
        if rows is None:
            continue
        rest, beside = complement(left, source.ndim), complement(right, target.ndim)
        found = source.transpose((*left, *rest)).reshape(len(rows), -1)[rows]
        wanted = target.transpose((*right, *beside)).reshape(len(rows), -1)
        columns: Array | None = np.arange(found.shape[1])
        if not np.array_equal(found, wanted):
            columns = matched(in_order(mixed(wanted)), in_order(mixed(found)))
        if columns is None or not np.array_equal(found[:, columns], wanted):
            continue
        parts = [Part(left, right, rows), Part(rest, beside, columns)]
        solved = arrangement(parts, source.shape, target.shape)
        if solved is not None:
            return solved
        if left == right == (0,) and np.array_equal(columns, np.arange(len(columns))):
            turned = moved(rows)
    return turned


def _pairs(
    source: tuple[int, ...], target: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Sets of axes with as many lines on either side, the most even cuts first."""
    total = math.prod(source)
    pairs = [
        (left, right)
        for right in subsets(len(target))
        for left in subsets(len(source))
        if 1 < count(source, left) == count(target, right) < total
    ]
    return sorted(pairs, key=lambda one: -min(lot := count(source, one[0]), total // lot))
