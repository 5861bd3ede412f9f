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
ENTRIES = np.dtype("i8")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
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


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_a_copy_between_parts_of_arrays_leaves_what_lies_around_them(dtype):
    large = np.arange(700 * 900).astype(dtype).reshape(700, 900)
    for source in (large[::2, 1::3], large[3:303, 5:].T, np.broadcast_to(large[:, :1], (700, 300))):
        room = np.full((source.shape[1] + 2, 2 * source.shape[0] + 1), 77, dtype)
        target = room[1:-1, 1::2].T
        copy(source, target, Arena(2**20))
        assert np.array_equal(target, source)
        target[...] = 77
        assert (room == 77).all()


@pytest.mark.parametrize("shape", [(), (1,), (0, 5), (3, 0, 2), (1, 1, 4)], ids=str)
def test_next_to_nothing_is_copied_too(shape):
    source = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    target = np.zeros(shape, "i4")
    copy(source, target, Arena(0))
    assert np.array_equal(target, source)


# -- the memory it is done in ---------------------------------------------------------------------


def test_arrays_of_an_arena_begin_at_lines_and_do_not_touch():
    arena = Arena(10_000)
    with (
        arena.room((3, 7), np.dtype("i1")) as one,
        arena.room((5,), ENTRIES) as other,
        arena.room((9, 9), np.dtype("i2")) as third,
    ):
        for number, array in enumerate((one, other, third)):
            array[...] = number
        assert [set(array.ravel().tolist()) for array in (one, other, third)] == [{0}, {1}, {2}]
        start = one.ctypes.data
        assert [(array.ctypes.data - start) % 64 for array in (other, third)] == [0, 0]


def test_an_arena_gives_out_all_it_has_again_and_no_more():
    arena = Arena(80_000)
    for _ in range(100):
        with (
            arena.room((10_000,), ENTRIES),
            pytest.raises(MemoryError, match="bytes are wanted of"),
        ):
            arena.room((10_000,), ENTRIES).__enter__()
    with pytest.raises(OSError), arena.room((10_000,), ENTRIES):
        raise OSError
    with arena.room((10_000,), ENTRIES):
        pass
