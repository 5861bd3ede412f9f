"""Copies between arrays whose elements lie in different orders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mapengine.checkpoints.arena import Arena, Array
from mapengine.views import View

TILE = 256
"""Side of a square of elements that stays in the second-level cache while it is turned."""
_SMALL = 2**13
"""Elements of a matrix that stays in the first-level cache whichever way it is read."""
_LINE = 64
"""Bytes of a cache line."""
_FEW = 4
"""Elements of a loop that costs more to begin than to run."""


def seen(view: View, flat: Array) -> Array:
    """What a view shows of the elements of its source, which are `flat`, in their memory."""
    if view.spec.numel == 0:
        return np.empty(view.shape, flat.dtype)
    parts = [part for axis in view.axes for part in axis]
    strides = [stride * flat.itemsize for _, stride in parts]
    return as_strided(flat[view.offset :], [n for n, _ in parts], strides)


def copy(source: Array, target: Array, arena: Arena) -> None:
    """Copies `source` into `target`, of the same shape and dtype.

    Where the two sides run in different directions, that is done tile by tile. Down a column of a
    matrix whose rows are a power of two apart, every element falls into the same few lines of the
    cache; so a tile is first copied out, with its rows a line further apart: turning a matrix is
    about five times as fast for that.
    """
    axes = [axis for axis in range(target.ndim) if target.shape[axis] > 1]
    writing = min(axes, key=lambda axis: target.strides[axis], default=0)
    moving = [axis for axis in axes if source.strides[axis]]  # along others an element is repeated
    reading = min(moving, key=lambda axis: source.strides[axis], default=writing)
    sides = [target.shape[axis] for axis in (reading, writing) if axes]
    thin = min(sides, default=0) * source.itemsize < _LINE
    if reading == writing or writing not in moving or thin or math.prod(sides) < _SMALL:
        _lay(source, target, writing)
        return
    others = [axis for axis in range(target.ndim) if axis not in (reading, writing)]
    order = (*others, writing, reading)
    source, target = source.transpose(order), target.transpose(order)
    height, width = (min(side, TILE) for side in source.shape[-2:])
    with arena.room((height, width + _LINE // source.itemsize), source.dtype) as tile:
        for index in np.ndindex(*source.shape[:-2]):
            _turn(source[index], target[index], tile)


def _lay(source: Array, target: Array, axis: int) -> None:
    """Copies as numpy does; where `axis`, its innermost loop, is a short one, around that."""
    if source.size < _SMALL or target.shape[axis] > _FEW:
        target[...] = source
        return
    for i in range(target.shape[axis]):
        at: tuple[Any, ...] = (*(slice(None) for _ in range(axis)), i)
        target[at] = source[at]


def _turn(source: Array, target: Array, room: Array) -> None:
    """Copies a matrix: `source` runs along its rows, `target` down its columns."""
    height, width = source.shape
    for i in range(0, height, TILE):
        for j in range(0, width, TILE):
            part = source[i : i + TILE, j : j + TILE]
            tile = room[: part.shape[0], : part.shape[1]]
            tile[...] = part
            target[i : i + TILE, j : j + TILE] = tile
