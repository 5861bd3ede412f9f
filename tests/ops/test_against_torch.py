import math

import einops
import pytest
import torch

from mapengine.errors import OpError
from mapengine.ops import Axes, Fan
from mapengine.ops.arithmetic import Add, Mul
from mapengine.ops.cast import Cast
from mapengine.ops.mean import Mean
from mapengine.ops.pad import Pad, Unpad
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute, RopeUnpermute
from mapengine.ops.same import Copy, Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack, Unstack


def counted(*shape):
    return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)


def assert_equal(found, wanted):
    """Equal in values, shape and dtype; NaN is equal to itself."""
    assert [t.dtype for t in found] == [t.dtype for t in wanted]
    assert [t.shape for t in found] == [t.shape for t in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)


# -- moving elements ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, sizes, shape, for_einops, all_sizes",
    [
        (
            "(heads 3 head_dim) d -> (3 heads head_dim) d",
            {"heads": 4},
            (24, 5),
            "(h three x) d -> (three h x) d",
            {"h": 4, "three": 3},
        ),
        (
            "(3 3 x) -> (x 3 3)",  # the first 3 of the left is the first 3 of the right
            {},
            (18,),
            "(a b x) -> (x a b)",
            {"a": 3, "b": 3},
        ),
        (
            "(groups slot head_dim) d -> groups slot head_dim d",
            {"groups": 2, "head_dim": 3},
            (24, 2),
            "(g s h) d -> g s h d",
            {"g": 2, "h": 3},
        ),
        ("o i kh kw -> (kh kw i) o", {}, (2, 3, 4, 5), "o i kh kw -> (kh kw i) o", {}),
        ("a 1 (b 2) -> 2 b a", {}, (3, 1, 8), "a 1 (b two) -> two b a", {"two": 2}),
        ("a -> a 1 1", {}, (4,), "a -> a 1 1", {}),
        ("a () b -> b a", {}, (2, 1, 3), "a () b -> b a", {}),
        ("a b -> b a", {}, (0, 3), "a b -> b a", {}),
    ],
)  # fmt: skip
def test_rearrange_is_that_of_einops(pattern, sizes, shape, for_einops, all_sizes):
    tensor = counted(*shape)
    found = Rearrange(Axes(pattern, tuple(sizes.items()))).apply([tensor])
    assert_equal(found, [einops.rearrange(tensor, for_einops, **all_sizes)])


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("sizes", [None, (1, 5, 0), (2, 2, 2)])
def test_split_is_that_of_torch(dim, sizes):
    tensor = counted(6, 6, 6)
    found = Split(Fan("part", 3), dim, sizes).apply([tensor])
    assert_equal(found, torch.split(tensor, 2 if sizes is None else list(sizes), dim))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("lengths", [(2, 2, 2), (3, 0, 1)])
def test_concat_is_that_of_torch(dim, lengths):
    shapes = [(n, 4) if dim == 0 else (4, n) for n in lengths]
    tensors = [counted(*shape) + 100 * i for i, shape in enumerate(shapes)]
    assert_equal(Concat(Fan("rank", 3), dim, lengths).apply(tensors), [torch.cat(tensors, dim)])


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_stack_and_unstack_are_those_of_torch(dim):
    tensors = [counted(3, 3) + 10 * i for i in range(3)]
    assert_equal(Stack(Fan("expert", 3), dim).apply(tensors), [torch.stack(tensors, dim)])
    cube = counted(3, 3, 3)
    assert_equal(Unstack(Fan("expert", 3), dim).apply([cube]), torch.unbind(cube, dim))


@pytest.mark.parametrize("dims", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_permute_is_that_of_torch(dims):
    assert_equal(Permute(dims).apply([counted(2, 3, 4)]), [counted(2, 3, 4).permute(dims)])


@pytest.mark.parametrize("dims", [(0, 1), (0, -1), (-2, 0), (1, 1)])
def test_transpose_is_that_of_torch(dims):
    assert_equal(Transpose(dims).apply([counted(2, 3, 4)]), [counted(2, 3, 4).transpose(*dims)])


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("rotary_dim", [None, 8, 4, 2, 0])
@pytest.mark.parametrize("rest", [(), (5,), (2, 3)], ids=["bias", "weight", "more axes"])
def test_rope_permute_sends_row_2i_plus_j_of_a_head_to_row_j_half_plus_i(heads, rotary_dim, rest):
    d = 8
    turned = d if rotary_dim is None else rotary_dim
    tensor = counted(heads * d, *rest)
    wanted = tensor.clone()
    for h in range(heads):
        for i in range(turned // 2):
            for j in range(2):
                wanted[h * d + j * (turned // 2) + i] = tensor[h * d + 2 * i + j]
    assert_equal(RopePermute(heads, rotary_dim).apply([tensor]), [wanted])
    assert_equal(RopeUnpermute(heads, rotary_dim).apply([wanted]), [tensor])


def test_copy_repeats_and_same_compares_bits():
    tensor = torch.tensor([0.0, math.nan])
    copies = Copy(Fan("rank", 3)).apply([tensor])
    assert_equal(copies, [tensor] * 3)
    assert_equal(Same(Fan("rank", 3)).apply(copies), [tensor])  # NaN with NaN: bits, not values
    with pytest.raises(OpError, match=r"^the tensors are not equal bit for bit$"):
        Same(Fan("rank", 2)).apply([tensor, torch.tensor([-0.0, math.nan])])


@pytest.mark.parametrize("dtype", ["bool", "int64", "float8_e4m3fn", "bfloat16", "float32"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_pad_is_that_of_torch_and_unpad_takes_off_zeros_alone(dim, dtype):
    tensor = counted(3, 3).to(kind(dtype))
    sides = (0, 0, 0, 2) if dim == 0 else (0, 2)  # torch counts axes from the last
    padded = torch.nn.functional.pad(counted(3, 3), sides).to(kind(dtype))
    assert_equal(Pad(3, 5, dim).apply([tensor]), [padded])
    assert_equal(Unpad(5, 3, dim).apply([padded]), [tensor])
    for at in ((4, 2), (3, 0)):
        padded[at if dim == 0 else at[::-1]] = 1
    with pytest.raises(OpError) as refused:
        Unpad(5, 3, dim).apply([padded])
    assert str(refused.value) == "2 of 6 elements that are cut are not zero"
    assert (refused.value.code, refused.value.help) == (
        "ME306", "`unchecked: true` cuts them all the same",
    )  # fmt: skip
    assert_equal(Unpad(5, 3, dim, unchecked=True).apply([padded]), [tensor])


def test_unpad_takes_a_negative_zero_for_none():
    with pytest.raises(OpError, match="1 of 2 elements"):
        Unpad(3, 1).apply([torch.tensor([1.0, 0.0, -0.0])])


@pytest.mark.parametrize(
    "op, shape, message",
    [
        (Unpad(4, 2), (3, 4), "axis 0 has 3 positions, not 4"),
        (Unpad(3, 4), (3, 4), "3 positions are not cut to 4"),
        (Unpad(3, -1), (3, 4), "3 positions are not cut to -1"),
        (Pad(4, 6, 1), (3, 3), "axis 1 has 3 positions, not 4"),
        (Pad(3, 2), (3, 4), "3 positions are not padded to 2"),
        (Pad(3, 4, 2), (3, 4), "there is no axis 2: the tensor is [3, 4]"),
    ],
    ids=str,
)
def test_pad_and_unpad_refuse_sizes_that_do_not_fit(op, shape, message):
    with pytest.raises(OpError) as refused:
        op.apply([torch.zeros(shape)])
    assert str(refused.value) == message


# -- values ---------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
BIG = 2**63

ROUNDED = [
    ("float32", [1.0, 1.00390625, -2.5, NAN, INF], "bfloat16"),
    ("float32", [65519.0, -65519.0, 1e-9, NAN, -INF], "float16"),
    ("float32", [448.0, 447.0, 0.1, -0.0, NAN], "float8_e4m3fn"),
    ("float64", [0.1, 1e-300, INF], "float32"),
    ("int64", [2**24 + 1, -(2**24) - 1], "float32"),  # no integer of float32, and rounded as such
    ("int32", [3, -3], "float16"),
    ("float32", [3.0, -3.0], "int8"),
    ("float32", [0.0, 1.0], "bool"),
    ("uint64", [2**53], "float32"),
    ("float8_e5m2", [1.5, -448.0], "float8_e4m3fn"),
    ("uint16", [7], "float8_e5m2"),
    ("int64", [255, 0], "uint8"),
]

LOST = [  # what does not fit, how many of them, the largest
    ("bfloat16", [70000.0, 1.0, -70000.0], "float16", 2, "70144"),
    ("float32", [65520.0, 65519.0], "float16", 1, "65520"),
    ("float32", [464.0, 449.0, 448.0], "float8_e4m3fn", 2, "464"),
    ("float32", [INF, 1.0], "float8_e4m3fn", 1, "inf"),  # it has no infinity
    ("float8_e5m2", [57344.0], "float8_e4m3fn", 1, "57344"),
    ("float64", [1e39, -1e38], "float32", 1, "1e+39"),
    ("int64", [65536, 1], "float16", 1, "65536"),
    ("float32", [1.5, 2.0, NAN], "int32", 2, "nan"),
    ("float32", [2.0**31, -(2.0**31)], "int32", 1, "2.14748e+09"),
    ("float32", [2.0**63], "int64", 1, "9.22337e+18"),
    ("float32", [-1.0, 300.0], "uint8", 2, "300"),
    ("float32", [2.0], "bool", 1, "2"),
    ("int16", [300, -129, 127], "int8", 2, "300"),
    ("int8", [-1, 1], "uint8", 1, "1"),
    ("int64", [-1], "uint64", 1, "1"),
    ("uint64", [BIG], "int64", 1, "9.22337e+18"),
    ("float32", [-2.0, 4.0], "float8_e8m0fnu", 1, "2"),  # it has no sign
]


def of(values, dtype):
    """A tensor of a dtype, some of which cannot be made of numbers directly."""
    if dtype == "uint64":
        return torch.tensor(values, dtype=torch.uint64)
    wide = torch.float64 if isinstance(values[0], float) else torch.int64
    return torch.tensor(values, dtype=wide).to(kind(dtype))


def kind(dtype):
    return getattr(torch, dtype)


@pytest.mark.parametrize("dtype, values, to", ROUNDED)
def test_cast_rounds_as_torch_does(dtype, values, to):
    tensor = of(values, dtype)
    for overflow in ("error", "allow"):
        assert_equal(Cast(to, None, overflow).apply([tensor]), [tensor.to(kind(to))])


@pytest.mark.parametrize("dtype, values, to, count, worst", LOST)
def test_cast_refuses_values_that_do_not_fit_with_their_number(dtype, values, to, count, worst):
    with pytest.raises(OpError) as refused:
        Cast(to).apply([of(values, dtype)])
    assert str(refused.value) == f"{count} of {len(values)} values do not fit {to}, up to {worst}"
    assert refused.value.code == "ME305"


@pytest.mark.parametrize(
    "dtype, values, to, message",
    [
        ("float32", [2.0, 0.25, -1.5], "int64", "2 of 3 values are not whole numbers, as int64"),
        ("bfloat16", [0.5], "uint8", "1 of 1 values are not whole numbers, as uint8"),
        ("float32", [0.5, 1e30], "int32", "2 of 2 values do not fit int32, up to 1e+30"),
        ("float32", [0.5], "bool", "1 of 1 values do not fit bool, up to 0.5"),
    ],
)
def test_cast_tells_a_fraction_from_a_number_that_is_too_large(dtype, values, to, message):
    with pytest.raises(OpError) as refused:
        Cast(to).apply([of(values, dtype)])
    assert str(refused.value).startswith(message) and refused.value.code == "ME305"


@pytest.mark.parametrize("dtype, values, to", [entry[:3] for entry in LOST])
def test_cast_with_overflow_allowed_is_that_of_torch(dtype, values, to):
    tensor = of(values, dtype)
    assert_equal(Cast(to, None, "allow").apply([tensor]), [tensor.to(kind(to))])


@pytest.mark.parametrize(
    "dtype, values, to, wanted",
    [
        ("bfloat16", [70000.0, -INF, NAN, 1.0], "float16", [65504.0, -65504.0, NAN, 1.0]),
        ("float32", [464.0, -500.0, 3.0], "float8_e4m3fn", [448.0, -448.0, 3.0]),
        ("float8_e5m2", [57344.0, 2.0], "float8_e4m3fn", [448.0, 2.0]),
        ("int64", [10**6, -(10**6), 7], "float16", [65504.0, -65504.0, 7.0]),
        ("float64", [1e39], "float32", [torch.finfo(torch.float32).max]),
        ("bfloat16", [3.0, INF], "float32", [3.0, INF]),  # all of it fits: nothing is touched
    ],
)
def test_cast_saturates_where_it_is_told_to(dtype, values, to, wanted):
    found = Cast(to, None, "saturate").apply([of(values, dtype)])
    assert_equal(found, [torch.tensor(wanted, dtype=torch.float64).to(kind(to))])


@pytest.mark.parametrize(
    "op, dtype, message",
    [
        (Cast("float32"), "complex64", "complex64 cannot become float32: a part of every number"),
        (Cast("complex64"), "float32", "float32 cannot become complex64: a part of every number"),
        (Cast("int8", None, "saturate"), "float32", "int8 cannot be saturated: only floating"),
        (Add(1.0), "int32", "takes floating tensors, not int32"),
        (Mul(2.0), "bool", "takes floating tensors, not bool"),
    ],
)
def test_an_op_on_values_refuses_dtypes_it_makes_no_sense_for(op, dtype, message):
    with pytest.raises(OpError, match=f"^{message}"):
        op.apply([torch.ones(2).to(kind(dtype))])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float32", "float64"])
def test_add_and_mul_compute_in_float32_and_round_back(dtype):
    tensor = torch.linspace(-3, 3, 101).to(kind(dtype))
    wide = tensor if dtype == "float64" else tensor.float()
    assert_equal(Add(0.1).apply([tensor]), [(wide + 0.1).to(kind(dtype))])
    assert_equal(Mul(0.1).apply([tensor]), [(wide * 0.1).to(kind(dtype))])
    assert_equal(Mul(0.1).inverse().apply([tensor]), [(wide / 0.1).to(kind(dtype))])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float32", "float64"])
def test_mul_refuses_what_leaves_the_range(dtype):
    tensor = of([1.0, math.nan, 0.0], dtype)
    tensor[2] = torch.finfo(kind(dtype)).max
    with pytest.raises(OpError) as refused:
        Mul(2.0).apply([tensor])
    assert str(refused.value) == f"1 of 3 results do not fit {dtype}"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_mean_rounds_after_every_sum_and_divides_at_the_end(dtype, count):
    torch.manual_seed(count)
    tensors = [torch.randn(500).to(kind(dtype)) * 10 for _ in range(count)]
    total = tensors[0].clone()
    for tensor in tensors[
        1:
    ]:  # computed in more digits than are kept, so that each sum is rounded once
        total = (total.double() + tensor.double()).to(kind(dtype))
    wanted = (total.double() / count).to(kind(dtype))
    kept = [tensor.clone() for tensor in tensors]
    found = Mean(Fan("rank", count)).apply(tensors)
    assert_equal(found, [wanted])
    assert_equal(tensors, kept)
    if count > 2 and dtype != "float64":
        assert not torch.equal(Mean(Fan("rank", count)).apply(tensors[::-1])[0], wanted)
        assert not torch.equal(Mean(Fan("rank", count), "float64").apply(tensors)[0], wanted)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16"])
def test_mean_in_float32_rounds_once(dtype):
    tensors = [of([1.0, 3.5, 448.0, NAN], dtype), of([1.25, -3.5, 448.0, 1.0], dtype)] * 2
    wide = torch.stack([tensor.float() for tensor in tensors]).mean(0)
    assert_equal(Mean(Fan("rank", 4), "float32").apply(tensors), [wide.to(kind(dtype))])


@pytest.mark.parametrize(
    "dtype, wide, values, message, help",
    [
        ("float16", None, [65504.0, 1.0], "1 of 2 sums do not fit float16",
         "`in: float32` adds in that"),
        ("float32", None, [3e38, INF], "1 of 2 sums do not fit float32",
         "`in: float64` adds in that"),
        ("bfloat16", "float32", [3e38, NAN], "1 of 2 sums do not fit float32",
         "`in: float64` adds in that"),
        ("int32", None, [1, 2], "takes floating tensors, not int32", ""),
        ("float8_e5m2", None, [1.0], "nothing adds in float8_e5m2", "`in: float32` adds in that"),
        ("float64", "float32", [1.0], "float32 does not hold every float64", "leave `in` out"),
    ],
)  # fmt: skip
def test_mean_refuses_what_it_cannot_add(dtype, wide, values, message, help):
    with pytest.raises(OpError) as refused:
        Mean(Fan("rank", 2), wide).apply([of(values, dtype)] * 2)
    assert (str(refused.value), refused.value.help) == (message, help)


def test_mean_of_one_is_that_one_whatever_it_is():
    tensor = torch.tensor([1, 2])
    assert_equal(Mean(Fan("rank", 1)).apply([tensor]), [tensor])
