"""Blocks read off views, against what torch does to tensors that say where each element is from."""

import hypothesis.strategies as st
import torch
from hypothesis import assume, event, given

from mapengine.adapters.blocks import blocks_of, marked
from mapengine.adapters.config import AdapterConfig
from mapengine.adapters.factors import factors_of
from mapengine.adapters.reading import LowRank
from mapengine.errors import OpError
from mapengine.ops.elementwise import Combining, Elementwise
from mapengine.specs import TensorSpec, contiguous_strides
from mapengine.views import View
from tests.programs import Content, OpenFile, Pair, one_op, thorough

SOURCE, ROW = 10**8, 10**4
sizes = st.sampled_from([1, 2, 3, 4, 6, 8, 12])


def source(number, shape):
    """A marked matrix, and the same with the number, row and column of every element."""
    stored = marked(TensorSpec("float32", shape), "adapter")
    rows, cols = torch.arange(shape[0]), torch.arange(shape[1])
    return stored, numbered(number, rows, cols)


def numbered(number, rows, cols, down=ROW, across=1):
    """What says of each element where it is from; nothing is 0, so that zeros are padding."""
    return (number + 1) * SOURCE + rows[:, None] * down + cols[None, :] * across


@st.composite
def programs(draw):
    """Sources by name, and a tensor made of them by a few ops, described and real."""
    shape = draw(st.tuples(sizes, sizes))
    stored, pairs = {}, []
    for number in range(draw(st.integers(1, 3))):
        lazy, real = source(number, shape)
        stored[number] = lazy
        pairs.append(Pair(View.of(lazy), real.double()))
    pair, *others = pairs
    for _ in range(draw(st.integers(1, 5))):
        op, taken = draw(one_op(pair, others))
        if isinstance(op, Elementwise | Combining):  # these change what the numbers say
            continue
        lazies, reals = op.apply([p.lazy for p in taken]), op.apply([p.real for p in taken])
        made = [both for both in zip(lazies, reals, strict=True) if both[1].numel()]
        if len(made) == len(lazies):  # none that is empty
            pair = Pair(*draw(st.sampled_from(made)))
    return stored, pair


def is_apart(real):
    """Whether all of a matrix is of one source, its rows and columns of that one's, or turned."""
    number, rows, cols = real // SOURCE, real % SOURCE // ROW, real % ROW
    straight = (rows == rows[:, :1]).all() and (cols == cols[:1]).all()
    turned = (rows == rows[:1]).all() and (cols == cols[:, :1]).all()
    return bool((number == number[0, 0]).all() and (straight or turned))


@thorough(400)
@given(programs())
def test_blocks_are_where_torch_puts_them(program):
    stored, pair = program
    assume(pair.real.ndim > 1)
    real = pair.real.reshape(pair.real.shape[0], -1).long()
    names = {id(one): str(number) for number, one in stored.items()}
    try:
        blocks = blocks_of(pair.lazy, names, str.__eq__)
    except OpError:
        event("refused")
        assert not is_apart(real)
        return
    event("turned" if any(block.turned for block in blocks) else "straight")
    event(f"{min(len(blocks), 3)} blocks")
    found = torch.zeros_like(real)
    for block in blocks:
        rows, cols = torch.from_numpy(block.from_rows), torch.from_numpy(block.from_cols)
        down, across = (1, ROW) if block.turned else (ROW, 1)
        held = numbered(int(block.source), rows, cols, down, across)
        at = torch.from_numpy(block.rows)[:, None], torch.from_numpy(block.cols)[None, :]
        assert (found[at] == 0).all()
        found[at] = held
    assert torch.equal(found, real)


@thorough(300)
@given(programs(), st.booleans(), st.booleans(), st.sampled_from([1, 2, 3]))
def test_factors_make_the_update_that_torch_would(program, rslora, inputs_first, shared):
    stored, pair = program
    assume(pair.real.ndim == 2)
    torch.manual_seed(0)
    content, updates, deltas = Content(), {}, {}
    factors = [torch.randn(12, 3), torch.randn(12, 3)]
    config = AdapterConfig.read(
        {"peft_type": "LORA", "r": 3, "lora_alpha": 8, "use_rslora": rslora,
         "fan_in_fan_out": inputs_first, "alpha_pattern": {"1": 5, "2": -16}}
    )  # fmt: skip
    for number, one in stored.items():
        rows, cols = one.spec.shape
        out, ins = (cols, rows) if inputs_first else (rows, cols)
        a = factors[0][:ins].T if number < shared else torch.randn(3, ins)
        b = factors[1][:out] if number == 0 else torch.randn(out, 3)
        lazy = [content.store(x, contiguous_strides(x.shape), 0).source for x in (a, b)]
        updates[str(number)] = LowRank(str(number), False, *lazy)
        scale = float(config.alpha_of(str(number))) / (3**0.5 if rslora else 3)
        deltas[number] = scale * ((b @ a).T if inputs_first else b @ a)
    try:
        blocks = blocks_of(pair.lazy, {id(one): str(n) for n, one in stored.items()}, str.__eq__)
        assume(blocks)
        made = factors_of(pair.lazy, blocks, updates, config, lambda one: bytes_of(content, one))
    except OpError:
        return
    with OpenFile(bytes(content.data)) as file:
        a, b = (torch.from_numpy(file.make(one).view("f4")) for one in (made.a, made.b))
    ids = pair.real.long()
    deltas[-1] = torch.zeros(1, 1)  # what is padded is not updated
    wanted = torch.stack(
        [deltas[int(i // SOURCE) - 1][i % SOURCE // ROW, i % ROW] for i in ids.flatten()]
    )
    scale = made.alpha / (made.rank**0.5 if rslora else made.rank)
    found = scale * ((b @ a).T if made.inputs_first else b @ a)
    assert a.shape[0] == made.rank <= 3 * len(blocks)
    torch.testing.assert_close(found, wanted.reshape(ids.shape), rtol=1e-5, atol=1e-5)


def bytes_of(content, stored):
    start = stored.location.offset
    return str(stored.spec), bytes(content.data[start : start + stored.spec.nbytes])
