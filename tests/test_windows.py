"""Boxes and windows against counting: every element once, in order, and never more than allowed."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from programs import Content, OpenFile, numbers, raw, thorough

from mapengine.checkpoints.windows import in_source_order, windows
from mapengine.planning.boxes import grid, stretch, within

shapes = st.lists(st.integers(1, 6), max_size=4).map(tuple)


def numbered(shape):
    return np.arange(math.prod(shape)).reshape(shape)


def cut(array, box):
    return array[tuple(slice(start, start + length) for start, length in box)]


# -- boxes ----------------------------------------------------------------------------------------


@thorough(200)
@given(shapes, st.integers(1, 60))
def test_the_boxes_of_a_grid_follow_one_another_and_none_is_above_the_limit(shape, limit):
    parts = [cut(numbered(shape), box) for box in grid(shape, limit)]
    assert np.concatenate([part.ravel() for part in parts]).tolist() == [*range(math.prod(shape))]
    assert all(1 <= part.size <= limit for part in parts)


@thorough(200)
@given(shapes, st.integers(1, 60))
def test_a_grid_has_no_more_boxes_than_it_needs(shape, limit):
    boxes = list(grid(shape, limit))
    if math.prod(shape) <= limit:
        assert boxes == [tuple((0, n) for n in shape)]
    for one, other in itertools.pairwise(boxes):
        apart = [axis for axis in range(len(shape)) if one[axis] != other[axis]]
        if len(apart) == 1 and one[apart[0]][1] > 1:  # neighbours along the axis that is cut
            row = math.prod(n for axis, (_, n) in enumerate(one) if axis != apart[0])
            assert (one[apart[0]][1] + 1) * row > limit


@pytest.mark.parametrize("limit", [0, 1])
def test_a_grid_without_room_is_one_of_single_elements(limit):
    assert [cut(numbered((2, 3)), box).tolist() for box in grid((2, 3), limit)] == [
        [[n]] for n in range(6)
    ]


@thorough(200)
@given(shapes, st.data())
def test_a_stretch_holds_just_the_elements_that_were_asked_for(shape, data):
    size = math.prod(shape)
    start = data.draw(st.integers(0, size - 1))
    count = data.draw(st.integers(1, size - start))
    boxes = list(stretch(shape, start, count))
    parts = [cut(numbered(shape), box).ravel() for box in boxes]
    assert np.concatenate(parts).tolist() == [*range(start, start + count)]
    assert len(boxes) <= max(2 * len(shape) - 1, 1)


def test_what_lies_within_a_box_is_what_torch_cuts_out():
    content, real = Content(), numbers((3, 4, 5), "int16", 0)
    view = content.store(real.permute(2, 0, 1).contiguous(), (12, 4, 1), 1).permute((1, 2, 0))
    with OpenFile(content.data) as file:
        for box in itertools.product(((0, 3), (1, 2)), ((3, 1), (0, 4)), ((2, 3), (0, 5))):
            assert file.make(within(view, box)).tobytes() == raw(cut(real, box))


# -- windows --------------------------------------------------------------------------------------


@st.composite
def nests(draw):
    """Loops over strides of any kind, and over a target whose axes are in another order."""
    shape = draw(st.lists(st.integers(1, 5), max_size=4))
    strides = [draw(st.sampled_from([0, 1, 2, 3, 5, 6, 12, 40])) for _ in shape]
    if draw(st.booleans()):  # as those of a contiguous tensor, here and there with room between
        step = 1
        for axis in draw(st.permutations(range(len(shape)))):
            strides[axis] = step
            step *= shape[axis] + draw(st.sampled_from([0, 0, 1, 7]))
    target = np.empty([shape[axis] for axis in draw(st.permutations(range(len(shape))))], "i2")
    steps = draw(st.permutations(target.strides))
    return [(n, stride, step) for n, stride, step in zip(shape, strides, steps, strict=True)]


def places(loops):
    """For every position, outermost loop first, where it is in the source and in the target."""
    sizes = [n for n, _, _ in loops]
    found = np.zeros((2, *sizes), int)
    for axis, (n, stride, step) in enumerate(loops):
        along = np.arange(n).reshape([n if a == axis else 1 for a in range(len(loops))])
        found[0] += along * stride
        found[1] += along * step
    return found


def pairs(loops):
    return sorted(zip(*places(loops).reshape(2, -1).tolist(), strict=True))


@thorough(200)
@given(nests())
def test_loops_in_source_order_are_the_same_loops(loops):
    ordered = in_source_order(loops)
    assert pairs(ordered) == pairs(loops)
    assert [stride for _, stride, _ in ordered] == sorted((s for _, s, _ in ordered), reverse=True)
    assert all(n > 1 for n, _, _ in ordered)
    merged = [(n * s, n * t) for n, s, t in ordered[1:]]
    assert all((s, t) != inner for (_, s, t), inner in zip(ordered[:-1], merged, strict=True))


@thorough(400)
@given(nests(), st.integers(1, 150), st.integers(0, 12))
def test_windows_see_every_element_once_and_read_no_more_than_they_may(loops, limit, gap):
    loops = in_source_order(loops)
    sources = places(loops)[0]
    seen, found = np.zeros(sources.shape, int), list(windows(loops, limit, gap))
    for window in found:
        inside = sources[(*window.index, ...)]
        seen[(*window.index, ...)] += 1
        assert window.runs * window.span <= limit
        runs = inside if window.runs > 1 else [inside]
        for run, start in zip(runs, window.starts, strict=True):
            assert run.min() == start
            assert run.max() == start + window.span - 1
            assert all(np.diff(np.unique(run)) - 1 <= gap)
    assert (seen == 1).all()


@thorough(400)
@given(nests(), st.integers(1, 150), st.integers(0, 12))
def test_windows_are_as_few_as_they_may_be(loops, limit, gap):
    loops = in_source_order(loops)
    sources, found = places(loops)[0], list(windows(loops, limit, gap))
    if sources.max() < limit and all(np.diff(np.unique(sources)) - 1 <= gap):
        assert len(found) == 1
    for one, other in itertools.pairwise(found):
        if one.index[:-1] == other.index[:-1]:  # the next along the loop that is cut
            hole = other.first - [*one.starts][-1] - one.span
            inside = sources[(*other.index, ...)][:1]
            more = int(inside.max()) + 1 - one.first
            more = (one.runs + 1) * one.span if hole > gap else max(more, one.span)
            assert more > limit


def test_the_gap_that_is_read_too_is_exact():
    loops = [(3, 10, 4), (4, 1, 12)]
    assert [window.span for window in windows(loops, 100, 6)] == [24]
    (window,) = windows(loops, 100, 5)
    assert (window.span, [*window.starts]) == (4, [0, 10, 20])
    assert [[*window.starts] for window in windows(loops, 11, 5)] == [[0, 10], [20]]
    assert [window.span for window in windows(loops, 23, 6)] == [14, 4]
    assert [window.first for window in windows(loops, 23, 6)] == [0, 20]


def test_a_tensor_of_one_element_is_one_window():
    (window,) = windows([], 1, 0)
    assert (window.first, window.span, window.index) == (0, 1, ())
    assert torch.zeros(())[window.index].shape == ()
