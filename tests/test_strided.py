"""Copies between arrays that run in different directions, larger than a tile."""

from itertools import permutations

import numpy as np
import pytest

from mapengine.checkpoints.arena import Arena
from mapengine.checkpoints.strided import TILE, copy

SHAPES = [
    (TILE, TILE + 1),
    (3 * TILE + 5, 2 * TILE - 1),
    (5, TILE + 3, TILE),
    (1, 70_000),
    (2, 9, 3000),
]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_copy_is_the_same_whatever_way_its_sides_run(shape, dtype):
    arena = Arena(2**20)
    elements = np.arange(np.prod(shape)).astype(dtype)
    for order in permutations(range(len(shape))):
        source = elements.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
        for other in permutations(range(len(shape))):
            room = np.zeros([shape[axis] for axis in other], dtype)
            target = room.transpose(np.argsort(other))
            copy(source, target, arena)
            assert np.array_equal(target, source)
