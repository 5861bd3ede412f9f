"""What tells tensors apart by their content, whatever the order of their elements.

An element is hashed by its bits; the hash of a set of elements is the sum of theirs, so it is that
of every permutation of them, and that of a slab is a difference of running sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Axes = tuple[int, ...]

_MOST_AXES = 5


def mixed(bits: Array) -> Array:
    """A 64-bit hash of each element."""
    if bits.dtype.itemsize <= 2:
        table = _scrambled(np.arange(2 ** (8 * bits.dtype.itemsize), dtype=np.uint64))
        found: Array = table[bits]
        return found
    return _scrambled(bits.astype(np.uint64))


def _scrambled(values: Array) -> Array:
    """The finaliser of splitmix64: every bit of the input moves half of the output's."""
    with np.errstate(over="ignore"):
        x = values + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        scrambled: Array = x ^ (x >> np.uint64(31))
        return scrambled


def whole(hashes: Array) -> int:
    """The hash of all elements together."""
    return int(hashes.sum(dtype=np.uint64))


def lines(hashes: Array, fixed: Axes) -> Array:
    """The hash of each set of elements whose indices on the `fixed` axes are the same."""
    others = tuple(axis for axis in range(hashes.ndim) if axis not in fixed)
    summed: Array = hashes.sum(axis=others, dtype=np.uint64).reshape(-1)
    return summed


def subsets(rank: int) -> Iterator[Axes]:
    """The sets of axes that lines can be taken by: the fewest axes, the longest lines, first."""
    sizes = range(rank) if rank <= _MOST_AXES else (0, 1)
    for size in sizes:
        yield from combinations(range(rank), size)


def complement(axes: Axes, rank: int) -> Axes:
    return tuple(axis for axis in range(rank) if axis not in axes)


def count(shape: tuple[int, ...], axes: Axes) -> int:
    return math.prod(shape[axis] for axis in axes)


def matched(wanted: Array, found: Array) -> Array | None:
    """For each hash wanted its place among those found, each used once; equal ones in order."""
    if wanted.shape != found.shape:
        return None
    one, other = np.argsort(wanted, kind="stable"), np.argsort(found, kind="stable")
    if not np.array_equal(wanted[one], found[other]):
        return None
    places = np.empty(len(wanted), np.int64)
    places[one] = other
    return places


def in_order(hashes: Array) -> Array:
    """For each column of a matrix a hash that depends on the order of its elements too."""
    weights = _scrambled(np.arange(len(hashes), dtype=np.uint64)) | np.uint64(1)
    with np.errstate(over="ignore"):
        summed: Array = (hashes * weights[:, None]).sum(axis=0, dtype=np.uint64)
    return summed
