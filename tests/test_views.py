"""Ops on described tensors, made from files, against the same ops on torch's own tensors."""

import math
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from mapengine.checkpoints.gather import Reader
from mapengine.errors import OpError
from mapengine.ops import Axes, Fan
from mapengine.ops.arithmetic import Add, Mul
from mapengine.ops.cast import Cast
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute, RopeUnpermute
from mapengine.ops.same import Copy, Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack, Unstack
from mapengine.planning.budget import Budget
from mapengine.planning.pieces import pieces, working_bytes
from mapengine.specs import DTYPES, StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import Lazy, View

LARGEST = 20_000  # elements of a tensor on the way
FILE = "model.bin"
PLENTY = Budget(2**24)


@dataclass
class Pair:
    """A described tensor and the real one it must turn out to be."""

    lazy: Lazy
    real: torch.Tensor


class Content:
    """The bytes of a file as tensors are added to it."""

    def __init__(self):
        self.data = bytearray()

    def store(self, real, strides, gap):
        """A copy of `real`, laid out by `strides` (in elements) after `gap` bytes of rubbish."""
        self.data += b"\xa5" * gap
        offset = len(self.data)
        reach = 1 + sum((n - 1) * s for n, s in zip(real.shape, strides, strict=True))
        room = torch.zeros(max(reach, 1), dtype=real.dtype)
        room.as_strided(real.shape, strides).copy_(real)
        self.data += room.view(torch.uint8).numpy().tobytes()
        spec = TensorSpec(dtype_of(real), tuple(real.shape))
        return View.of(StoredTensor(spec, TensorLocation(FILE, offset, tuple(strides))))


def dtype_of(real):
    return str(real.dtype).removeprefix("torch.")


def numbers(shape, dtype, first):
    """Finite values, as different from one another as the dtype allows."""
    count = math.prod(shape)
    steps = torch.arange(first, first + count)
    match dtype:
        case "bool":
            values = steps % 3 == 1
        case "float8_e4m3fn" | "float8_e5m2":
            values = (steps % 0x6F).to(torch.uint8).view(getattr(torch, dtype))
        case "float8_e8m0fnu":
            values = (steps % 0xFF).to(torch.uint8).view(torch.float8_e8m0fnu)
        case "float16" | "bfloat16":  # up to 2.0
            values = (steps % 0x3F80).to(torch.int16).view(getattr(torch, dtype))
        case "complex64":
            values = torch.complex(steps.float(), -steps.float())
        case _:
            values = steps.to(getattr(torch, dtype))
    return values.reshape(shape)


# -- random chains of ops -------------------------------------------------------------------------

sizes = st.sampled_from([1, 2, 3, 4, 6, 8, 4, 2, 1, 0])
shapes = st.integers(0, 4).flatmap(lambda n: st.tuples(*[sizes] * n))


@st.composite
def stored(draw, content, dtype, first):
    """A tensor in the file: contiguous, transposed, or spread out; one or several equal copies."""
    shape = draw(shapes)
    real = numbers(shape, dtype, first)
    copies = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        order = draw(st.permutations(range(len(shape))))
        gaps = [draw(st.sampled_from([1, 1, 2])) for _ in shape]
        strides, step = [0] * len(shape), 1
        for axis in order:
            step *= gaps[axis]
            strides[axis] = step
            step *= max(shape[axis], 1)
        if draw(st.booleans()):
            strides = list(contiguous_strides(shape))
        copies.append(content.store(real, strides, draw(st.integers(0, 9))))
    (lazy,) = Same(Fan("rank", len(copies))).apply(copies)
    return Pair(lazy, real)


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


def choices(pair, others):
    """The names of the ops that fit a tensor."""
    shape = pair.real.shape
    names = ["permute", "copies", "rearrange", "stack"]
    if shape:
        names += ["split", "split sizes", "concat", "concat", "rearrange", "permute", "flatten"]
        names += ["rope"] if shape[0] else []
        names += ["unstack"] if any(0 < n < 5 for n in shape) else []
    if DTYPES[dtype_of(pair.real)].floating:
        names += ["value"] * 3
    return names


@st.composite
def one_op(draw, pair, others):
    """An op, and the tensors it takes beside `pair`, which are as large as it wants them."""
    shape = tuple(pair.real.shape)
    match draw(st.sampled_from(choices(pair, others))):
        case "permute":
            order = tuple(draw(st.permutations(range(len(shape)))))
            if len(shape) > 1 and draw(st.booleans()):
                return Transpose((order[0], order[1] - len(shape))), [pair]
            return Permute(order), [pair]
        case "split":
            dim = draw(st.integers(-len(shape), len(shape) - 1))
            return Split(Fan("x", draw(st.sampled_from(divisors(shape[dim]) or [2]))), dim), [pair]
        case "split sizes":
            dim = draw(st.integers(0, len(shape) - 1))
            cuts = sorted(draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
            found = tuple(b - a for a, b in zip([0, *cuts], [*cuts, shape[dim]], strict=True))
            return Split(Fan(None, len(found)), dim, found), [pair]
        case "unstack":
            dim = draw(st.sampled_from([i for i, n in enumerate(shape) if 0 < n < 5]))
            return Unstack(Fan("x", shape[dim]), dim), [pair]
        case "copies":
            return Copy(Fan("x", 2)), [pair]
        case "concat":
            dim = draw(st.integers(0, len(shape) - 1))
            fitting = [o for o in others if fits(o, pair, dim)][:2]
            members = draw(st.permutations([pair, *fitting]))
            found = tuple(m.real.shape[dim] for m in members)
            return Concat(Fan("x", len(members)), dim, found), members
        case "stack":
            dim = draw(st.integers(-len(shape) - 1, len(shape)))
            fitting = [o for o in others if fits(o, pair, None)][:2]
            members = draw(st.permutations([pair, *fitting]))
            return Stack(Fan("x", len(members)), dim), members
        case "rearrange":
            return draw(rearranges(shape)), [pair]
        case "flatten":  # all axes as one, in a random order
            left = [f"a{i}" for i in range(len(shape))]
            right = " ".join(draw(st.permutations(left)))
            return Rearrange(Axes(f"{' '.join(left)} -> ({right})", ())), [pair]
        case "rope":
            heads = draw(st.sampled_from(divisors(shape[0])))
            rotary = 2 * draw(st.integers(0, shape[0] // heads // 2))
            whole = rotary == shape[0] // heads and draw(st.booleans())
            kind = draw(st.sampled_from([RopePermute, RopeUnpermute]))
            return kind(heads, None if whole else rotary), [pair]
        case "value":
            to = draw(st.sampled_from(["float32", "bfloat16", "float64"]))
            ops = [Cast(to, None, "allow"), Mul(-1.0), Add(0.0), Mul(0.5)]
            return draw(st.sampled_from(ops)), [pair]


@st.composite
def rearranges(draw, shape):
    """Every axis cut in up to three, all the pieces in another order and in other brackets."""
    brackets, sizes = [], {}
    for size in shape:
        bracket, left = [], size
        while left > 1 and len(bracket) < 2 and draw(st.booleans()):
            bracket.append(f"a{len(sizes)}")
            sizes[bracket[-1]] = draw(st.sampled_from(divisors(left)))
            left //= sizes[bracket[-1]]
        bracket.append(f"a{len(sizes)}")
        sizes[bracket[-1]] = left
        brackets.append(bracket)
    names = draw(st.permutations(list(sizes)))
    right = []
    for name in names:
        if right and draw(st.booleans()):
            right[-1].append(name)
        else:
            right.append([name])
    sides = [" ".join(f"({' '.join(b)})" for b in side) for side in (brackets, right)]
    return Rearrange(Axes(" -> ".join(sides), tuple(sorted(sizes.items()))))


def fits(other, pair, dim):
    """Whether two tensors can be joined: alike but for axis `dim`."""
    if other is pair or other.real.dtype != pair.real.dtype:
        return False
    one, two = list(other.real.shape), list(pair.real.shape)
    if len(one) != len(two):
        return False
    if dim is not None:
        one[dim] = two[dim] = 0
    return one == two


@st.composite
def programs(draw):
    """The content of a file, and tensors that random ops have made of what lies in it."""
    content = Content()
    dtype = draw(st.sampled_from([*DTYPES, "bfloat16", "float32", "float16", "float64"]))
    count = draw(st.integers(1, 3))
    pairs = [draw(stored(content, dtype, 1000 * i)) for i in range(count)]
    for _ in range(draw(st.integers(1, 8))):
        pair = draw(st.sampled_from([*pairs, *pairs[-2:]]))
        op, taken = draw(one_op(pair, pairs))
        if sum(t.real.numel() for t in taken) * 2 > LARGEST:
            continue
        lazies, reals = op.apply([t.lazy for t in taken]), op.apply([t.real for t in taken])
        made = [Pair(*both) for both in zip(lazies, reals, strict=True)]
        assert [p.lazy.shape for p in made] == [tuple(p.real.shape) for p in made], op
        assert [p.lazy.dtype for p in made] == [dtype_of(p.real) for p in made], op
        left = [p for p in pairs if not any(p is t for t in taken)]
        pairs = [*left, *made][-8:]
    return content, pairs


def raw(real):
    flat = real.reshape(-1).clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy().tobytes()


def thorough(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class OpenFile:
    """A real file with some content, and a reader of it."""

    def __init__(self, data):
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.file.write(data)
        self.file.flush()

    def reader(self, budget):
        return Reader(lambda name: nullcontext(self.file.fileno()), budget)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def make(self, lazy, budget=PLENTY):
        """The tensor, as integers of its elements' size."""
        out = np.full(lazy.shape, 0x5A, f"i{DTYPES[lazy.dtype].size}")
        self.reader(budget).fill(lazy, out)
        return out

    def write(self, parts, budget=PLENTY):
        """What the pieces make of an empty file."""
        reader = self.reader(budget)
        with tempfile.TemporaryFile() as target:
            for piece in parts:
                reader.write(piece, target.fileno(), 0)
            target.seek(0)
            return target.read()


def inside(lazy):
    """The kinds of description a tensor is built of, `buffer` where one must be laid out first."""
    if isinstance(lazy, StoredTensor):
        return {"stored"}
    kind = type(lazy).__name__
    if isinstance(lazy, View) and isinstance(lazy.source, Lazy):
        kind = "buffer"
    return {kind}.union(*(inside(one) for one in lazy.inputs()))


def test_ops_on_views_make_what_they_make_of_tensors():
    reached = Counter()

    @thorough(450)
    @given(programs())
    def check(program):
        content, pairs = program
        with OpenFile(content.data) as file:
            for pair in pairs:
                made = file.make(pair.lazy)
                assert made.shape == tuple(pair.real.shape)
                assert made.tobytes() == raw(pair.real)
                reached.update(inside(pair.lazy))

    check()
    assert reached.keys() == {"stored", "View", "Joined", "Mapped", "Agreed", "buffer"}
    assert min(reached.values()) > 30, reached


@pytest.mark.parametrize("size", [600, 5_000, 100_000])
def test_pieces_follow_one_another_and_make_the_whole_within_their_budget(size):
    cut = Counter()
    budget = Budget(size)

    @thorough(130)
    @given(programs())
    def check(program):
        content, pairs = program
        with OpenFile(content.data) as file:
            for pair in pairs:
                parts = list(pieces(pair.lazy, budget))
                ends = [p.offset + p.content.spec.nbytes for p in parts]
                assert [p.offset for p in parts] == [0, *ends][: len(parts)]
                assert (ends or [0])[-1] == pair.lazy.spec.nbytes
                assert all(p.content.spec.nbytes for p in parts)
                assert file.write(parts, budget) == raw(pair.real)  # a MemoryError, if it is more
                assert working_bytes(pair.lazy, budget) <= size
                cut[len(parts) > 1] += 1

    check()
    assert cut[True] > 20


# -- known pieces ---------------------------------------------------------------------------------


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


def test_a_file_that_ends_early_is_an_error_of_the_disk():
    content, pair = matrix(4, 4)
    with OpenFile(content.data[:-1]) as file, pytest.raises(OSError, match="ended early"):
        file.write(pieces(pair.lazy, PLENTY))
