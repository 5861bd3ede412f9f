"""Random programs of ops, on tensors described in a file and on the same tensors of torch."""

import math
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import HealthCheck, settings

from mapengine.checkpoints.gather import Reader
from mapengine.ops import Axes, Fan, Op
from mapengine.ops.arithmetic import Add, Mul
from mapengine.ops.cast import Cast
from mapengine.ops.dequantize import Dequantize
from mapengine.ops.mean import Mean
from mapengine.ops.pad import Pad, Unpad
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute, RopeUnpermute
from mapengine.ops.same import Copy, Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack, Unstack
from mapengine.planning.budget import Budget
from mapengine.planning.pieces import is_plain_copy, pieces
from mapengine.specs import DTYPES, StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import Filled, Lazy, View

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
        """A copy of `real`, laid out by `strides` (in elements); rubbish lies between."""
        size = reach(real.shape, strides) * real.element_size()
        room = torch.full((size,), 0xA5, dtype=torch.uint8).view(real.dtype)
        room.as_strided(real.shape, strides).copy_(real)
        return self.see(room, real.shape, strides, gap)

    def see(self, room, shape, strides, gap):
        """All of `room`, after `gap` bytes of rubbish, seen through `strides`."""
        self.data += b"\xa5" * gap
        offset = len(self.data)
        self.data += room.view(torch.uint8).numpy().tobytes()
        spec = TensorSpec(dtype_of(room), tuple(shape))
        return View.of(StoredTensor(spec, TensorLocation(FILE, offset, tuple(strides))))


def reach(shape, strides):
    """How many elements there are from the first to the last."""
    return max(1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)), 1)


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

sizes = st.sampled_from([1, 2, 3, 4, 6, 8, 24, 4, 2, 0])
shapes = st.integers(0, 4).flatmap(lambda n: st.tuples(*[sizes] * n))


@st.composite
def stored(draw, content, dtype, first, shared=False, shape=None):
    """A tensor in the file: contiguous, transposed, or spread out; one or several equal copies.

    Where it may be `shared`, one element may stand at several positions of it.
    """
    shape = draw(shapes) if shape is None else shape
    real, copies = numbers(shape, dtype, first), []
    if shared and draw(st.booleans()):
        strides = [draw(st.sampled_from([0, 0, 1, 2, 3, 5, 7])) for _ in shape]
        room = numbers((reach(shape, strides),), dtype, first)
        real = room.as_strided(shape, strides).clone()
        copies.append(content.see(room, shape, strides, draw(st.integers(0, 9))))
    for _ in range(draw(st.sampled_from([0, 1, 2] if copies else [1, 1, 1, 2, 3]))):
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


@st.composite
def filled(draw, dtype):
    """A tensor that no file holds."""
    shape = draw(shapes)
    count, kind = math.prod(shape), getattr(torch, dtype)
    reals = {"arange": torch.arange(count).reshape(shape).to(kind)}
    if len(shape) > 1:
        reals["tril"] = torch.tril(torch.ones(shape)).to(kind)
    if dtype == "float8_e8m0fnu":  # it has no zero
        reals = {}
    value = draw(st.sampled_from([*reals, 1]))
    real = reals.get(value, torch.full(shape, 1, dtype=kind))
    return Pair(View.of(Filled(value, shape, dtype)), real)


def valued(dtype):
    """Ops on values that torch does alike on any number of elements."""
    if DTYPES[dtype].floating:
        names = ["float16", "bfloat16", "float32", "float64"]
        return [*(Cast(name, None, "allow") for name in names), Mul(-1.0), Mul(0.5), Add(0.0)]
    names = ["float32", "float64"] if dtype != "complex64" else ["complex64"]
    return [Cast(name, None, "allow") for name in names]


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


def choices(pair):
    """The names of the ops that fit a tensor."""
    shape = pair.real.shape
    names = ["permute", "copies", "same", "rearrange", "stack", "value"]
    if shape:
        names += ["split", "split sizes", "concat", "concat", "rearrange", "permute", "flatten"]
        names += ["rope"] if shape[0] else []
        names += ["pad"]
        names += ["unstack"] if any(0 < n < 5 for n in shape) else []
    if DTYPES[dtype_of(pair.real)].floating:
        names += ["value"] * 2
        names += ["value", "mean"] if DTYPES[dtype_of(pair.real)].size > 1 else []
    return names


@st.composite
def one_op(draw, pair, others):
    """An op, and the tensors it takes beside `pair`, which are as large as it wants them."""
    shape = tuple(pair.real.shape)
    match draw(st.sampled_from(choices(pair))):
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
        case "same":
            return Same(Fan("x", 2)), [pair, pair]
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
        case "pad":
            dim = draw(st.integers(-len(shape), len(shape) - 1))
            size = shape[dim]
            if draw(st.booleans()):
                return Pad(size, size + draw(st.integers(0, 3)), dim), [pair]
            return Unpad(size, draw(st.integers(0, size)), dim, True), [pair]
        case "mean":
            fitting = [o for o in others if fits(o, pair, None)][:2]
            members = draw(st.permutations([pair, pair, *fitting]))
            wide = draw(st.sampled_from([None, "float64"]))
            return Mean(Fan("x", len(members)), wide), members
        case "value":
            return draw(st.sampled_from(valued(dtype_of(pair.real)))), [pair]


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


@dataclass
class Program:
    """The content of a file, and the tensors that ops have made of what lies in it."""

    content: Content
    pairs: list[Pair]
    ops: list[Op]


def applied(op, taken):
    """What an op makes of described tensors, and of the real ones."""
    lazies, reals = op.apply([t.lazy for t in taken]), op.apply([t.real for t in taken])
    made = [Pair(*both) for both in zip(lazies, reals, strict=True)]
    assert [p.lazy.shape for p in made] == [tuple(p.real.shape) for p in made], op
    assert [p.lazy.dtype for p in made] == [dtype_of(p.real) for p in made], op
    return made


@st.composite
def quantised(draw, content):
    """A weight of few bits in the file with its scale, and the op that makes numbers of them."""
    to = draw(st.sampled_from(["bfloat16", "float32"]))
    outer = draw(st.sampled_from([(), (), (2,), (3, 1), (0,)]))
    if draw(st.booleans()):
        outer = (*outer, draw(st.integers(1, 4)))
        weight = draw(stored(content, "uint8", draw(st.integers(0, 255)), shape=(*outer, 16)))
        dtype = draw(st.sampled_from(["uint8", "float8_e8m0fnu"]))
        scale = draw(stored(content, dtype, draw(st.integers(0, 100)), shape=outer))
        return Dequantize("mxfp4", to, None, Fan(None, 2)), [weight, scale]
    rows, columns, *block = (draw(st.integers(1, 9)) for _ in range(4))
    weight = draw(stored(content, "float8_e4m3fn", 0, shape=(*outer, rows, columns)))
    dtype = draw(st.sampled_from(["float32", "bfloat16", "float16", "float8_e8m0fnu"]))
    shape = (*outer, math.ceil(rows / block[0]), math.ceil(columns / block[1]))
    scale = draw(stored(content, dtype, draw(st.integers(1, 100)), shape=shape))
    return Dequantize("fp8_e4m3", to, tuple(block), Fan(None, 2)), [weight, scale]


@st.composite
def programs(draw, shared=False):
    content = Content()
    dtype = draw(st.sampled_from([*DTYPES, "bfloat16", "float32", "float16", "float64"]))
    count = draw(st.integers(1, 3))
    pairs = [draw(stored(content, dtype, 1000 * i, shared)) for i in range(count)]
    pairs += [draw(filled(dtype))] if not shared and draw(st.booleans()) else []
    ops = []
    if draw(st.sampled_from([True, False, False])):
        op, taken = draw(quantised(content))
        pairs += applied(op, taken)
        ops.append(op)
    for _ in range(draw(st.integers(1, 8))):
        pair = draw(st.sampled_from([*pairs, *pairs[-2:]]))
        op, taken = draw(one_op(pair, pairs))
        if sum(t.real.numel() for t in taken) * 2 > LARGEST:
            continue
        made = applied(op, taken)
        left = [p for p in pairs if not any(p is t for t in taken)]
        pairs = [*left, *made][-8:]
        ops.append(op)
    return Program(content, pairs, ops)


# -- what the bytes are, and what is made of them -------------------------------------------------


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
        """What the pieces make of an empty file; to copy one takes as much, whatever the budget."""
        readers = {False: self.reader(budget), True: self.reader(PLENTY)}
        with tempfile.TemporaryFile() as target:
            for piece in parts:
                readers[is_plain_copy(piece.content)].write(
                    piece.content, target.fileno(), piece.offset
                )
            target.seek(0)
            return target.read()


def inside(lazy):
    """The kinds of description a tensor is built of, `buffer` where one must be laid out first."""
    if isinstance(lazy, StoredTensor):
        return {"stored"}
    kind = type(lazy).__name__
    if isinstance(lazy, View) and isinstance(lazy.source, Lazy):
        kind = "View" if isinstance(lazy.source, Filled) else "buffer"
    return {kind}.union(*(inside(one) for one in lazy.inputs()))


def made_in_pieces(content, pair, budget):
    """Makes a tensor in a file, in pieces that follow one another, and compares it with torch's."""
    parts = list(pieces(pair.lazy, budget))
    ends = [p.offset + p.content.spec.nbytes for p in parts]
    assert [p.offset for p in parts] == [0, *ends][: len(parts)]
    assert (ends or [0])[-1] == pair.lazy.spec.nbytes
    assert all(p.content.spec.nbytes for p in parts)
    with OpenFile(content.data) as file:
        assert file.write(parts, budget) == raw(pair.real)  # a MemoryError, if it takes more
    return parts
