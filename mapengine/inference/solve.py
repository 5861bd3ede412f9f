"""The exact way from some tensors to others that hold the same elements."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

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

_MOST_SWAPS = 4096


@dataclass(frozen=True, slots=True)
class PartlyTurned:
    """The rotary permutation of the first rows of each head: no move of whole digits."""

    heads: int
    rotary_dim: int
    back: bool


def arrange(source: Array, target: Array) -> Arrangement | PartlyTurned | None:
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


def _crossed(source: Array, target: Array) -> Arrangement | PartlyTurned | None:
    """Two sets of axes on either side, the lines of one crossing those of the other."""
    ours, theirs = mixed(source), mixed(target)
    turned = None
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
            turned = partly_turned(rows)
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


def partly_turned(places: Array) -> PartlyTurned | None:
    """The heads, and how many rows of each are turned, where only some of them are."""
    size = len(places)
    for heads in (n for n in range(size // 2, 0, -1) if size % n == 0):
        rows = places.reshape(heads, -1)
        starts = np.arange(heads)[:, None] * rows.shape[1]
        if not np.array_equal(rows, rows[:1] + starts):
            continue
        moved = np.flatnonzero(rows[0] != np.arange(rows.shape[1]))
        turned = int(moved[-1]) + 2 if len(moved) else 0
        if turned % 2 or not 0 < turned < rows.shape[1]:
            continue
        pairs = np.arange(turned).reshape(-1, 2)
        for back, order in ((False, pairs.T), (True, pairs.reshape(2, -1).T)):
            if np.array_equal(rows[0, :turned], order.reshape(-1)):
                return PartlyTurned(heads, turned, back)
    return None
