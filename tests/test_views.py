"""Ops on described tensors, made from files, against the same ops on torch's own tensors."""

from collections import Counter
from itertools import permutations, product

import pytest
import torch
from hypothesis import given
from programs import (
    FILE,
    PLENTY,
    Content,
    OpenFile,
    Pair,
    inside,
    made_in_pieces,
    numbers,
    programs,
    raw,
    thorough,
)

from mapengine.checkpoints.storage import ReadError
from mapengine.errors import OpError
from mapengine.ops import NAMES, OPS, Fan
from mapengine.ops.cast import Cast
from mapengine.ops.same import Same
from mapengine.planning.budget import CHUNK, Budget
from mapengine.planning.pieces import pieces, working_bytes
from mapengine.specs import DTYPES, TensorSpec, contiguous_strides


def check(program, reached):
    with OpenFile(program.content.data) as file:
        for pair in program.pairs:
            made = file.make(pair.lazy)
            assert made.shape == tuple(pair.real.shape)
            assert made.tobytes() == raw(pair.real)
            reached.update(inside(pair.lazy))
            reached[pair.lazy.dtype] += 1
    reached.update(NAMES[type(op)] for op in program.ops)


def test_ops_on_views_make_what_they_make_of_tensors():
    reached = Counter()
    thorough(600)(given(programs())(lambda program: check(program, reached)))()
    kinds = {"stored", "View", "Joined", "Mapped", "Combined", "Agreed", "Filled", "buffer"}
    assert reached.keys() == kinds | OPS.keys() | DTYPES.keys()
    assert min(reached[name] for name in kinds) > 20, reached
    assert min(reached.values()) > 5, reached


def test_tensors_that_hold_an_element_several_times_are_made_rightly():
    reached = Counter()
    thorough(200)(given(programs(shared=True))(lambda program: check(program, reached)))()
    assert reached.keys() >= {"stored", "View", "Joined", "Mapped", "Agreed", "buffer"}


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (2, 2, 2), (2, 3, 4)], ids=str)
def test_a_tensor_of_any_strides_is_made_rightly_whichever_way_it_is_turned(shape):
    room = numbers((64,), "int16", 1)
    content = Content()
    for strides in product(range(6), repeat=len(shape)):
        content.data.clear()
        view = content.see(room, shape, strides, 3)
        real = room.as_strided(shape, strides)
        with OpenFile(content.data) as file:
            for order in permutations(range(len(shape))):
                made = file.make(view.permute(order))
                assert made.tobytes() == raw(real.permute(order)), (strides, order)


@pytest.mark.parametrize("size", [600, 5_000, 100_000])
def test_pieces_follow_one_another_and_make_the_whole_within_their_budget(size):
    cut = Counter()
    budget = Budget(size)

    @thorough(240)
    @given(programs())
    def check(program):
        for pair in program.pairs:
            parts = made_in_pieces(program.content, pair, budget)
            assert working_bytes(pair.lazy, budget) <= max(size, CHUNK)
            cut[len(parts) > 1] += 1

    check()
    assert cut[True] > 5


# -- known tensors --------------------------------------------------------------------------------


def matrix(rows, columns, dtype="int16"):
    content = Content()
    real = numbers((rows, columns), dtype, 0)
    return content, Pair(content.store(real, contiguous_strides((rows, columns)), 3), real)


def test_tensors_that_should_be_equal_and_are_not_are_refused_with_their_files():
    content = Content()
    one = content.store(torch.tensor([1.0, 2.0]), (1,), 0)
    other = content.store(torch.tensor([1.0, 2.5]), (1,), 0)
    (agreed,) = Same(Fan("rank", 2)).apply([one, other])
    with OpenFile(content.data) as file:
        assert file.make(agreed.narrow(0, 0, 1)).view("float32") == [1.0]
        with pytest.raises(OpError) as refused:
            file.make(agreed)
    assert str(refused.value) == f"the tensors that should be the same are not, in {FILE}"
    assert refused.value.code == "ME306"


def test_a_lost_value_is_refused_when_it_is_read():
    content = Content()
    view = content.store(torch.tensor([1.0, 70000.0]), (1,), 0)
    (narrow,) = Cast("float16").apply([view])
    assert narrow.spec == TensorSpec("float16", (2,))
    with OpenFile(content.data) as file, pytest.raises(OpError, match="1 of 2 values do not fit"):
        file.make(narrow)


def test_a_file_that_ends_early_is_an_error_in_reading():
    content, pair = matrix(4, 4)
    with OpenFile(content.data[:-1]) as file, pytest.raises(ReadError, match="shorter"):
        file.write(pieces(pair.lazy, PLENTY))
