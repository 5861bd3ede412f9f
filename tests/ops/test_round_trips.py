import subprocess
import sys

import pytest
import torch

from mapengine.errors import OpError
from mapengine.ops import NAMES, OPS, Exactness
from mapengine.ops.arithmetic import Add, Mul
from mapengine.ops.cast import Cast
from mapengine.ops.elementwise import Combining, Elementwise
from mapengine.ops.mean import Mean
from mapengine.ops.op import Fan
from mapengine.ops.pad import Pad, Unpad
from mapengine.specs import DTYPES

EXAMPLES = [
    pytest.param(op, shapes, id=f"{name}-{number}")
    for name, kind in OPS.items()
    for number, (op, shapes) in enumerate(kind.examples())
    if op.exactness("float32") is not Exactness.ONE_WAY
]
LAYOUT_EXAMPLES = [p for p in EXAMPLES if not isinstance(p.values[0], (Elementwise, Combining))]
PAIRED = [p for p in EXAMPLES if not isinstance(p.values[0], Mean)]
"""Ops and inverses that are each other's. What undoes the copies of a mean is `same`: it checks."""


def distinct(shapes, dtype="float32"):
    """Tensors no two of whose elements have the same bits, as far as the dtype has so many."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    width = DTYPES[dtype].size
    raw = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[width]
    bits = torch.arange(sum(sizes)).to(raw)
    if dtype == "bool":
        values = bits % 3 == 1
    elif dtype == "float32":
        values = bits.float()  # numbers, for ops that compute with them
    else:
        values = bits.view(getattr(torch, dtype))
    return [part.reshape(s) for part, s in zip(values.split(sizes), shapes, strict=True)]


def bits(tensor):
    return str(tensor.dtype), list(tensor.shape), tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same_bits(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        *kind, raw = bits(one)
        *other_kind, other_raw = bits(other)
        assert kind == other_kind
        assert torch.equal(raw, other_raw)


@pytest.mark.parametrize("name, kind", OPS.items())
def test_every_op_has_examples_and_a_sentence(name, kind):
    assert list(kind.examples())
    assert kind.__doc__.strip().endswith(".")
    assert NAMES[kind] == name


@pytest.mark.parametrize("op, shapes", EXAMPLES)
def test_inverse_undoes_apply(op, shapes):
    tensors = distinct(shapes)
    assert_same_bits(op.inverse().apply(op.apply(tensors)), tensors)


@pytest.mark.parametrize("op, shapes", EXAMPLES)
def test_apply_undoes_the_inverse(op, shapes):
    there = op.apply(distinct(shapes))
    assert_same_bits(op.apply(op.inverse().apply(there)), there)


@pytest.mark.parametrize("op, shapes", PAIRED)
def test_the_inverse_of_the_inverse_is_the_op(op, shapes):
    assert op.inverse().inverse() == op


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op, shapes", LAYOUT_EXAMPLES)
def test_what_moves_elements_keeps_the_bits_of_every_dtype(op, shapes, dtype):
    tensors = distinct(shapes, dtype)
    assert_same_bits(op.inverse().apply(op.apply(tensors)), tensors)
    assert op.exactness(dtype) is Exactness.EXACT


@pytest.mark.parametrize("op, shapes", EXAMPLES)
def test_the_fan_an_op_states_is_the_fan_it_takes_or_makes(op, shapes):
    assert (op.uses.size if op.uses else 1) == len(shapes)
    assert (op.makes.size if op.makes else 1) == len(op.apply(distinct(shapes)))


@pytest.mark.parametrize(
    "op, dtype, exactness",
    [
        (Cast("float32", "bfloat16"), "bfloat16", Exactness.WIDENING),
        (Cast("float64", "float16"), "float16", Exactness.WIDENING),
        (Cast("bfloat16", "float32"), "float32", Exactness.LOSSY),
        (Cast("float16", "bfloat16"), "bfloat16", Exactness.LOSSY),
        (Cast("float32", "int32"), "int32", Exactness.LOSSY),
        (Cast("bfloat16"), "float32", Exactness.ONE_WAY),
        (Cast("bfloat16"), "bfloat16", Exactness.EXACT),
        (Add(0.0), "float16", Exactness.EXACT),
        (Add(1.0), "float32", Exactness.LOSSY),
        (Mul(-1.0), "bfloat16", Exactness.EXACT),
        (Mul(2.0), "float32", Exactness.LOSSY),
        (Unpad(3, 2), "float32", Exactness.EXACT),
        (Unpad(3, 2, 0, True), "float32", Exactness.LOSSY),
        (Pad(2, 3, 0, True), "float32", Exactness.EXACT),
        (Mean(Fan("rank", 2)), "float32", Exactness.LOSSY),
        (Mean(Fan("rank", 1)), "float32", Exactness.EXACT),
    ],
    ids=str,
)
def test_an_op_on_values_states_its_exactness(op, dtype, exactness):
    assert op.exactness(dtype) is exactness


def test_every_value_of_a_widening_cast_comes_back():
    widenings = [
        (narrow, wide)
        for narrow, spec in DTYPES.items()
        for wide in DTYPES
        if spec.size <= 2
        and narrow != "float8_e8m0fnu"
        and Cast(wide, narrow).exactness(narrow) is Exactness.WIDENING
    ]
    assert ("bfloat16", "float32") in widenings and ("int16", "bfloat16") not in widenings
    for narrow, wide in widenings:
        (every,) = distinct([(2 ** (8 * DTYPES[narrow].size),)], narrow)
        if DTYPES[narrow].floating:
            every = every[~every.float().isnan()]
        there = Cast(wide, narrow).apply([every])
        assert_same_bits(Cast(wide, narrow).inverse().apply(there), [every])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Cast("bfloat16").inverse(), "a cast without `from` is one-way"),
        (lambda: Mul(0.0), "a factor of 0 is 0 in float32, and has no way back"),
    ],
)
def test_what_has_no_way_back_says_so(make, message):
    with pytest.raises(OpError) as refused:
        make()
    assert str(refused.value) == message


def test_the_table_of_ops_is_read_without_torch_or_numpy():
    program = (
        "import sys, mapengine.ops; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert found.stdout.decode().strip() == "[]"
