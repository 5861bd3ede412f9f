"""Weights of few bits as numbers: against their definitions, and against transformers' own code."""

import math

import pytest
import torch
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from mapengine.errors import OpError
from mapengine.ops import Exactness, Fan
from mapengine.ops.dequantize import Dequantize

LIST = Fan(None, 2)
INF, NAN = math.inf, math.nan


def fp8(block, to="bfloat16"):
    return Dequantize("fp8_e4m3", to, block, LIST)


def mxfp4(to="bfloat16"):
    return Dequantize("mxfp4", to, None, LIST)


def bytes_of(*shape):
    """Every byte there is, again and again."""
    return (torch.arange(math.prod(shape)) * 37 % 256).to(torch.uint8).reshape(shape)


def weights(*shape):
    return bytes_of(*shape).view(torch.float8_e4m3fn)


def scales(*shape, dtype=torch.float32):
    torch.manual_seed(0)
    return (torch.rand(shape) * 1e-3 + 1e-5).to(dtype)


def assert_same_bits(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    raw = [one.contiguous().reshape(-1).view(torch.uint8) for one in (found, wanted)]
    assert torch.equal(*raw)


SHAPES = [
    ((256, 384), (128, 128)),
    ((200, 300), (128, 128)),  # the last blocks are partial: rows, columns
    ((128, 300), (128, 128)),
    ((129, 128), (128, 128)),
    ((7, 5), (128, 128)),
    ((7, 5), (2, 3)),
    ((7, 5), (1, 5)),
    ((7, 6), (3, 1)),
    ((3, 7, 5), (2, 3)),
    ((2, 1, 4, 9), (3, 4)),
    ((0, 5), (2, 3)),
]


@pytest.mark.parametrize("shape, block", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("to", ["bfloat16", "float32"])
def test_each_block_is_multiplied_in_float32_and_rounded_once(shape, block, dtype, to):
    *outer, rows, columns = shape
    high, wide = (math.ceil(n / b) for n, b in zip((rows, columns), block, strict=True))
    weight, scale = weights(*shape), scales(*outer, high, wide, dtype=dtype)
    wanted = torch.empty(shape, dtype=getattr(torch, to))
    for i in range(high):
        for j in range(wide):
            down, across = (
                slice(i * block[0], (i + 1) * block[0]),
                slice(j * block[1], (j + 1) * block[1]),
            )
            inside = weight[..., down, across].to(torch.float32)
            wanted[..., down, across] = (
                inside * scale[..., i, j, None, None].to(torch.float32)
            ).to(wanted.dtype)
    (found,) = fp8(block, to).apply([weight, scale])
    assert_same_bits(found, wanted)


@pytest.mark.parametrize("shape", [(256, 384), (128, 128), (3, 128, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e8m0fnu])
def test_whole_blocks_come_to_what_transformers_makes_of_them(shape, dtype):
    *outer, rows, columns = shape
    weight, scale = weights(*shape), scales(*outer, rows // 128, columns // 128, dtype=dtype)
    wanted = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.bfloat16)
    (found,) = fp8((128, 128)).apply([weight, scale])
    assert_same_bits(found, wanted)


@pytest.mark.parametrize("to", ["bfloat16", "float32", "float16"])
def test_every_byte_at_every_scale_is_what_transformers_makes_of_it(to):
    last = 253 if to != "float16" else 140  # beyond it the largest of them are infinite
    blocks = bytes_of(last, 16, 16).reshape(1, last * 16, 1, 16)
    exponents = torch.arange(last).to(torch.uint8).repeat_interleave(16).reshape(1, -1, 1)
    wanted = convert_moe_packed_tensors(blocks, exponents, dtype=getattr(torch, to))
    for scale in (exponents, exponents.view(torch.float8_e8m0fnu)):
        (found,) = mxfp4(to).apply([blocks, scale])
        assert_same_bits(found.transpose(1, 2), wanted)


@pytest.mark.parametrize("shape", [(2, 6, 3), (1, 32, 5), (4, 1, 1)])
def test_experts_lie_turned_in_memory_as_transformers_holds_them(shape):
    blocks, scale = bytes_of(*shape, 16), (bytes_of(*shape) // 2)
    (found,) = mxfp4().apply([blocks, scale])
    assert found.shape == (*shape[:-1], 32 * shape[-1])
    assert_same_bits(found.transpose(1, 2), convert_moe_packed_tensors(blocks, scale))


def test_the_first_of_two_weights_is_in_the_low_half_of_their_byte():
    blocks = torch.zeros(1, 1, 16, dtype=torch.uint8)
    blocks[0, 0, 0], blocks[0, 0, 15] = 0xA3, 0x7F
    (found,) = mxfp4().apply([blocks, torch.tensor([[128]], dtype=torch.uint8)])
    assert found.tolist() == [[3.0, -2.0, *[0.0] * 28, -12.0, 12.0]]


# -- refusals -------------------------------------------------------------------------------------

FLOAT32, BYTES = torch.float32, torch.uint8

REFUSED = [
    (fp8((128, 128)), (300, 256), (2, 2),
     "the scale is [2, 2], and a weight of [300, 256] in blocks of [128, 128] has one of [3, 2]"),
    (fp8((128, 128)), (300, 256), (2, 3),  # the other way round
     "the scale is [2, 3], and a weight of [300, 256] in blocks of [128, 128] has one of [3, 2]"),
    (fp8((64, 128)), (256, 256), (2, 2),  # would divide evenly, in other blocks
     "the scale is [2, 2], and a weight of [256, 256] in blocks of [64, 128] has one of [4, 2]"),
    (fp8((2, 2)), (3, 4, 4), (2, 2),
     "the scale is [2, 2], and a weight of [3, 4, 4] in blocks of [2, 2] has one of [3, 2, 2]"),
    (fp8((2, 2)), (4,), (2,), "a weight of [4] has no rows and columns"),
    (fp8(None), (4, 4), (2, 2), "the block that shares a scale is not said"),
    (fp8((0, 2)), (4, 4), (2, 2), "the block that shares a scale is [0, 2]"),
    (fp8((2, 2, 2)), (4, 4), (2, 2), "the block that shares a scale is [2, 2, 2]"),
    (mxfp4(), (2, 3, 16), (2, 4),
     "the scale is [2, 4], and a weight of [2, 3, 16] has one of [2, 3]"),
    (mxfp4(), (2, 3, 32), (2, 3), "a weight of [2, 3, 32] has no blocks of 16 bytes"),
    (mxfp4(), (16,), (), "a weight of [16] has no blocks of 16 bytes"),
    (Dequantize("mxfp4", "bfloat16", (1, 32), LIST), (3, 16), (3,),
     "the blocks of mxfp4 are its own"),
]  # fmt: skip


@pytest.mark.parametrize("op, shape, scaled, message", REFUSED)
def test_a_scale_that_does_not_fit_weight_and_block_is_refused(op, shape, scaled, message):
    make, dtype = (bytes_of, BYTES) if op.format == "mxfp4" else (weights, FLOAT32)
    with pytest.raises(OpError) as refused:
        op.apply([make(*shape), torch.ones(scaled).to(dtype)])
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "op, weight, scale, message",
    [
        (fp8((2, 2)), "bfloat16", "float32", "the weight is bfloat16, not float8_e4m3fn"),
        (fp8((2, 2)), "uint8", "float32", "the weight is uint8, not float8_e4m3fn"),
        (fp8((2, 2)), "float8_e4m3fn", "uint8",
         "the scale is uint8, not float32 or bfloat16 or float16 or float8_e8m0fnu"),
        (mxfp4(), "int8", "uint8", "the weight is int8, not uint8"),
        (mxfp4(), "uint8", "float32", "the scale is float32, not uint8 or float8_e8m0fnu"),
    ],
)  # fmt: skip
def test_what_is_stored_as_something_else_is_refused(op, weight, scale, message):
    tensors = [
        torch.ones(4, 16).to(getattr(torch, weight)),
        torch.ones(4).to(getattr(torch, scale)),
    ]
    with pytest.raises(OpError) as refused:
        op.apply(tensors)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "scale, to, message",
    [
        ([[1e38, 1.0]], "bfloat16", "1 of 4 weights come to no finite bfloat16"),
        ([[1000.0, 1.0]], "float16", "1 of 4 weights come to no finite float16"),
        ([[1.0, INF]], "float32", "2 of 4 weights come to no finite float32"),
        ([[NAN, 1.0]], "float32", "2 of 4 weights come to no finite float32"),
    ],
)
def test_numbers_that_come_to_none_are_refused(scale, to, message):
    weight = torch.tensor([[448.0, 1.0, 1.0, 0.0]]).to(torch.float8_e4m3fn)
    with pytest.raises(OpError) as refused:
        fp8((1, 2), to).apply([weight, torch.tensor(scale)])
    assert (str(refused.value), refused.value.code) == (message, "ME305")
    gone = torch.tensor([[NAN, NAN, NAN, NAN]]).to(torch.float8_e4m3fn)  # no numbers before either
    (found,) = fp8((1, 2), to).apply([gone, torch.tensor(scale)])
    assert found.isnan().all()


@pytest.mark.parametrize(
    "exponent, count",
    [
        (252, 0),
        (253, 4),  # those of 4 and 6
        (254, 6),  # of 2 and 3 too
        (255, 32),  # it stands for no number
    ],
)
def test_a_scale_beyond_the_range_of_float32_is_refused(exponent, count):
    blocks = torch.tensor([[[0x40, 0x65, 0x77, 0xF0, *[0x21] * 12]]]).to(torch.uint8)
    tensors = [blocks, torch.tensor([[exponent]]).to(torch.uint8)]
    if count == 0:
        assert mxfp4("float32").apply(tensors)[0].isfinite().all()
    else:
        with pytest.raises(OpError, match=f"^{count} of 32 weights come to no finite float32$"):
            mxfp4("float32").apply(tensors)


def test_there_is_no_way_back():
    for op in (fp8((128, 128)), mxfp4()):
        assert op.exactness("float8_e4m3fn") is Exactness.ONE_WAY
        with pytest.raises(OpError, match=r"^dequantize is one-way"):
            op.inverse()


def test_a_weight_and_a_scale_are_two_tensors():
    with pytest.raises(OpError, match=r"^takes a weight and its scale, not 3 tensors$"):
        fp8((2, 2)).apply([weights(2, 2)] * 3)
