"""How the elements of one tensor lie in another: the digits of an index, and where each goes.

An index over several axes is a number in mixed radix. Most of what checkpoints do to a tensor moves
whole digits: `row = head * 16 + pair * 2 + side` here is `head * 16 + side * 8 + pair` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mapengine.inference.fingerprints import Array

Axis = tuple[int, ...]
"""The digits of one axis, by number, the outer ones first; none for an axis of one."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The size of each digit, and the digits of each axis on either side."""

    sizes: tuple[int, ...]
    source: tuple[Axis, ...]
    target: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    size: int
    source: tuple[int, int]  # axis, and place in it
    target: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """Some axes of the two sides, whose indices go together: target index to source index."""

    source_axes: tuple[int, ...]
    target_axes: tuple[int, ...]
    places: Array


def arrangement(
    parts: Sequence[Part], source: tuple[int, ...], target: tuple[int, ...]
) -> Arrangement | None:
    """The digits that the parts are made of; None where something else than digits is moved."""
    pieces: list[_Piece] = []
    for part in parts:
        digits = factored(part.places)
        if digits is None:
            return None
        found = _placed(digits, part, source, target)
        if found is None:
            return None
        pieces += found
    pieces.sort(key=lambda one: (one.source[0], -one.source[1]))

    def side(axes: int, name: str) -> tuple[Axis, ...]:
        listed: list[list[tuple[int, int]]] = [[] for _ in range(axes)]
        for number, piece in enumerate(pieces):
            axis, place = getattr(piece, name)
            listed[axis].append((-place, number))
        return tuple(tuple(number for _, number in sorted(one)) for one in listed)

    sizes = tuple(piece.size for piece in pieces)
    return Arrangement(sizes, side(len(source), "source"), side(len(target), "target"))


def factored(places: Array) -> list[tuple[int, int]] | None:
    """The (size, stride) of each digit, the inner ones first, that count out `places`."""
    digits: list[tuple[int, int]] = []
    if places[0] != 0:
        return None
    while len(places) > 1:
        step = int(places[1])
        straight = places == np.arange(len(places)) * step
        size = len(places) if straight.all() else int(np.argmin(straight))
        if step < 1 or len(places) % size:
            return None
        rows = places.reshape(-1, size)
        if not np.array_equal(rows, rows[:, :1] + np.arange(size) * step):
            return None
        digits.append((size, step))
        places = rows[:, 0]
    return digits


def _placed(
    digits: list[tuple[int, int]], part: Part, source: tuple[int, ...], target: tuple[int, ...]
) -> list[_Piece] | None:
    """The digits cut where an axis ends on either side, each with its axes."""
    ours = _units(part.source_axes, source)
    theirs = _units(part.target_axes, target)
    pieces: list[_Piece] = []
    at = 1
    for size, stride in digits:
        cuts = {1, size}
        cuts |= {unit // at for _, unit in theirs if at < unit < at * size}
        cuts |= {unit // stride for _, unit in ours if stride < unit < stride * size}
        for low, high in pairwise(sorted(cuts)):
            if high % low:
                return None
            here, there = _axis(ours, stride * low), _axis(theirs, at * low)
            pieces.append(_Piece(high // low, here, there))
        at *= size
    return pieces


def _units(axes: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Of each axis, the last first, what one step along it is worth."""
    worth, units = 1, []
    for axis in reversed(axes):
        units.append((axis, worth))
        worth *= shape[axis]
    return units


def _axis(units: list[tuple[int, int]], stride: int) -> tuple[int, int]:
    axis, worth = max(((a, w) for a, w in units if w <= stride), key=lambda pair: pair[1])
    return axis, stride // worth


def merged(arrangement: Arrangement) -> Arrangement:
    """The same with digits that stand side by side on both sides taken for one."""
    sizes = list(arrangement.sizes)
    source, target = [list(a) for a in arrangement.source], [list(a) for a in arrangement.target]

    def following(axes: list[list[int]]) -> set[tuple[int, int]]:
        return {pair for axis in axes for pair in pairwise(axis)}

    while both := following(source) & following(target):
        outer, inner = min(both)
        sizes[outer] *= sizes[inner]
        for axis in (*source, *target):
            if inner in axis:
                axis.remove(inner)
    return Arrangement(tuple(sizes), tuple(map(tuple, source)), tuple(map(tuple, target)))
