"""Rows that move in no whole digits: some of each head, or parts of unequal sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapengine.inference.fingerprints import Array
from mapengine.inference.steps import Op

PART = "=part"
"""An index of no key: the parts that a tensor is cut into and joined of again."""


@dataclass(frozen=True, slots=True)
class PartlyTurned:
    """The rotary permutation of the first rows of each head."""

    heads: int
    rotary_dim: int
    back: bool

    def ops(self, axes: int) -> list[Op]:
        name = "rope_unpermute" if self.back else "rope_permute"
        return [Op(name, heads=self.heads, rotary_dim=self.rotary_dim)]


@dataclass(frozen=True, slots=True)
class Regrouped:
    """All of one part, then all of the next, as some of each part group by group; or back."""

    groups: int
    sizes: tuple[int, ...]
    back: bool

    def ops(self, axes: int) -> list[Op]:
        """For a tensor of so many axes, of which the first has the parts."""
        rest = tuple((axis,) for axis in range(2, axes + 1))
        whole, apart = ((0, 1), *rest), ((0,), (1,), *rest)
        digits = (self.groups, *(0 for _ in range(axes)))
        all_of = tuple(self.groups * size for size in self.sizes)
        cut = Op("rearrange", axes=(whole, apart), sizes=digits)
        join = Op("rearrange", axes=(apart, whole), sizes=digits)
        if self.back:
            parts = Op("split", PART, 1, sizes=self.sizes)
            return [cut, parts, join, Op("concat", PART, 0, sizes=all_of)]
        parts = Op("split", PART, 0, sizes=all_of)
        return [parts, cut, Op("concat", PART, 1, sizes=self.sizes), join]


def moved(places: Array) -> PartlyTurned | Regrouped | None:
    """What the rows went through, from target row to source row, where it is one of these."""
    found = _turned(places) or _regrouped(places, back=False)
    return found or _regrouped(np.argsort(places), back=True)


def _turned(places: Array) -> PartlyTurned | None:
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


def _regrouped(places: Array, *, back: bool) -> Regrouped | None:
    """The groups, and the rows of each part in one of them."""
    for groups in (n for n in range(2, len(places) // 2 + 1) if len(places) % n == 0):
        rows = places.reshape(groups, -1)
        steps = rows[1] - rows[0]
        if not np.array_equal(rows, rows[:1] + np.arange(groups)[:, None] * steps):
            continue
        ends = np.flatnonzero(np.diff(rows[0]) != 1) + 1
        starts = [0, *map(int, ends)]
        sizes = np.diff([*starts, rows.shape[1]])
        tiled = np.cumsum([0, *(groups * sizes[:-1])])
        whole = np.array_equal(rows[0, starts], tiled)
        if whole and len(sizes) > 1 and np.array_equal(steps, np.repeat(sizes, sizes)):
            return Regrouped(groups, tuple(map(int, sizes)), back)
    return None
