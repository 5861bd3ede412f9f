"""What does not fit is refused in the words of the mapping, by ops and by families of tensors."""

import pytest
import torch

from mapengine import api
from mapengine.errors import OpError
from mapengine.ops import Axes, Fan
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute
from mapengine.ops.same import Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack, Unstack
from mapengine.planning.expand import Family
from mapengine.planning.families import apply_op, settle
from mapengine.specs import StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import View

PAIR = Fan("rank", 2)


def described(shape, dtype="float32"):
    location = TensorLocation("model.safetensors", 0, contiguous_strides(shape))
    return View.of(StoredTensor(TensorSpec(dtype, shape), location))


def real(shape, dtype="float32"):
    return torch.zeros(shape, dtype=getattr(torch, dtype))


REFUSED = [  # op, shapes, message
    (Split(Fan("expert", 9)), [(14336, 4)], "axis 0 has 14336 rows, not divisible into 9"),
    (Split(Fan("expert", 3), 1), [(3, 4)], "axis 1 has 4 positions, not divisible into 3"),
    (Split(Fan("expert", 3), -1), [(3, 4)], "axis 1 has 4 positions, not divisible into 3"),
    (Split(Fan("expert", 0)), [(3, 4)], "axis 0 has 3 rows, not divisible into 0"),
    (Split(PAIR, 2), [(3, 4)], "there is no axis 2: the tensor is [3, 4]"),
    (Split(PAIR, -3), [(3, 4)], "there is no axis -3: the tensor is [3, 4]"),
    (Split(PAIR), [()], "there is no axis 0: the tensor is []"),
    (Split(PAIR, 0, (3, 4)), [(8,)], "axis 0 has 8 positions, [3, 4] make 7"),
    (Split(PAIR, 0, (3, 4, 1)), [(8,)], "3 sizes for 2 tensors"),
    (Split(PAIR, 0, (9, -1)), [(8,)], "sizes cannot be negative: [9, -1]"),
    (Split(PAIR), [(2,), (2,)], "takes one tensor, not 2"),
    (Concat(PAIR), [(2, 4), (2, 5)], "shapes do not go together: [2, 4] and [2, 5]"),
    (Concat(PAIR, 1), [(2, 4), (2, 5)], "sizes along axis 1 differ: [4, 5]"),
    (Concat(PAIR, 1, (5, 4)), [(2, 4), (2, 5)], "sizes along axis 1 are [4, 5], not [5, 4]"),
    (Concat(PAIR), [(2, 4), (2, 4, 1)], "shapes do not go together: [2, 4] and [2, 4, 1]"),
    (Concat(PAIR), [(), ()], "there is no axis 0: the tensor is []"),
    (Stack(PAIR), [(2, 4), (3, 4)], "shapes do not go together: [2, 4] and [3, 4]"),
    (Stack(PAIR, 3), [(2, 4), (2, 4)], "there is no axis 3: the tensor is [2, 4]"),
    (Unstack(PAIR), [(3, 4)], "axis 0 has 3 positions, not 2"),
    (Same(PAIR), [(2,), (3,)], "shapes do not go together: [2] and [3]"),
    (Permute((1, 0)), [(2, 3, 4)], "[1, 0] is not every axis of [2, 3, 4] once"),
    (Permute((0, 0)), [(2, 3)], "[0, 0] is not every axis of [2, 3] once"),
    (Permute((0, -1)), [(2, 3)], "[0, -1] is not every axis of [2, 3] once"),
    (Transpose((0, 1, 2)), [(2, 3, 4)], "takes two axes, not [0, 1, 2]"),
    (Transpose((0, 1)), [(5,)], "there is no axis 1: the tensor is [5]"),
    (RopePermute(3), [(16, 4)], "axis 0 has 16 rows, not divisible into 3"),
    (RopePermute(0), [(16, 4)], "axis 0 has 16 rows, not divisible into 0"),
    (RopePermute(-2), [(16, 4)], "axis 0 has 16 rows, not divisible into -2"),
    (RopePermute(5), [(15, 4)], "3 rows of a head of 3 cannot be taken in pairs"),
    (RopePermute(2, 3), [(16, 4)], "3 rows of a head of 8 cannot be taken in pairs"),
    (RopePermute(2, 10), [(16, 4)], "10 rows of a head of 8 cannot be taken in pairs"),
    (RopePermute(2, -2), [(16, 4)], "-2 rows of a head of 8 cannot be taken in pairs"),
    (RopePermute(1), [()], "takes a weight or a bias, not a scalar"),
]

REARRANGES = [  # pattern, sizes, shape, message
    ("a b -> b a", {}, (2, 3, 4), "'a b -> b a' takes 2 axes, the tensor is [2, 3, 4]"),
    ("(3 a) -> a 3", {}, (8,), "(3 a) makes 3, the tensor has 8 there"),
    ("(3 2) -> 2 3", {}, (8,), "(3 2) makes 6, the tensor has 8 there"),
    ("a 1 -> a", {}, (3, 2), "() makes 1, the tensor has 2 there"),
    ("(h d) -> d h", {"h": 0}, (8,), "(h d) makes 0, the tensor has 8 there"),
    ("(h d) -> d h", {"h": -2}, (8,), "h is -2: no size of an axis"),
    ("(a b) -> b a", {}, (6,), "(a b): more than one axis without a size: a, b"),
    ("a b -> a", {}, (2, 3),
     "the sides of 'a b -> a' do not have the same axes: b stands on one only"),
    ("a 3 -> a 2", {}, (2, 3),
     "the sides of 'a 3 -> a 2' do not have the same axes: 2, 3 stands on one only"),
    ("a b", {}, (2, 3), "'a b' is not `axes -> axes`"),
    ("a -> b -> a", {}, (2,), "'a -> b -> a' is not `axes -> axes`"),
    ("a ... -> ... a", {}, (2, 3), "every axis is named, in at most 200 characters"),
]  # fmt: skip


@pytest.mark.parametrize("make", [described, real])
@pytest.mark.parametrize("op, shapes, message", REFUSED, ids=str)
def test_an_op_refuses_tensors_it_does_not_fit(op, shapes, message, make):
    with pytest.raises(OpError) as refused:
        op.apply([make(shape) for shape in shapes])
    assert str(refused.value) == message


@pytest.mark.parametrize("make", [described, real])
@pytest.mark.parametrize("pattern, sizes, shape, message", REARRANGES)
def test_rearrange_refuses_what_only_fits_by_luck(pattern, sizes, shape, message, make):
    with pytest.raises(OpError) as refused:
        Rearrange(Axes(pattern, tuple(sizes.items()))).apply([make(shape)])
    assert str(refused.value) == message


@pytest.mark.parametrize("op", [Concat(PAIR), Stack(PAIR), Same(PAIR)], ids=str)
def test_tensors_of_two_dtypes_do_not_go_together(op):
    with pytest.raises(OpError) as refused:
        op.apply([described((2,)), described((2,), "bfloat16")])
    assert str(refused.value) == "dtypes do not go together: float32 and bfloat16"


def test_unequal_parts_are_told_how_to_be_named():
    with pytest.raises(OpError) as refused:
        Concat(PAIR).apply([described((2,)), described((3,))])
    assert refused.value.help == "name them with `sizes`, so that there is a way back"


# -- families -------------------------------------------------------------------------------------


def family(**ranges):
    """Tensors [4, 6], one for each combination of the indices; `keys` is the unnamed list."""
    labels = tuple(None if name == "keys" else name for name in ranges)
    count = 1
    for size in ranges.values():
        count *= size
    sizes = tuple(tuple(range(size)) for size in ranges.values())
    return Family(labels, sizes, tuple(described((4, 6)) for _ in range(count)))


def keys(**ranges):
    one = family(**ranges)
    return Family(one.labels, one.ranges, tuple(str(i) for i in range(len(one.members))))


@pytest.mark.parametrize(
    "made, op, message, help",
    [
        (family(expert=2), Stack(Fan("rank", 2)),
         "'rank' is not there to be used up", "fans here: 'expert'"),
        (family(), Concat(Fan("rank", 2)), "'rank' is not there to be used up", "fans here: none"),
        (family(rank=2), Concat(Fan(None, 2)),
         "the list of keys is not there to be used up", "fans here: 'rank'"),
        (family(expert=2), Split(Fan("expert", 2)), "'expert' is there already", ""),
        (family(keys=2), Split(Fan(None, 2)), "the list of keys is there already", ""),
        (family(expert=0), Stack(Fan("expert", 0)), "'expert' has no members to be used up", ""),
    ],
)  # fmt: skip
def test_an_op_takes_up_only_a_fan_that_is_there(made, op, message, help):
    with pytest.raises(OpError) as refused:
        apply_op(made, op, (0, 1))
    assert (str(refused.value), refused.value.help) == (message, help)
    assert refused.value.code == "ME302"


@pytest.mark.parametrize(
    "made, wanted, message",
    [
        (family(rank=2), keys(), "the rule does not use 'rank' up"),
        (family(keys=2, rank=2), keys(), "the rule does not use the list of keys, 'rank' up"),
        (family(), keys(expert=3), "the rule does not make 'expert'"),
        (family(), keys(keys=2, expert=3), "the rule does not make the list of keys, 'expert'"),
        (family(expert=2), keys(expert=3), "2 tensors for 3 keys"),
    ],
)
def test_what_is_left_over_or_lacking_at_the_target_is_refused(made, wanted, message):
    with pytest.raises(OpError) as refused:
        settle(made, wanted)
    assert str(refused.value) == message
    assert refused.value.code == "ME302"


def test_two_fans_have_no_order_to_get_wrong():
    made = family(rank=2, expert=3)
    once = apply_op(apply_op(made, Concat(Fan("rank", 2))), Stack(Fan("expert", 3)))
    turned = apply_op(apply_op(made, Stack(Fan("expert", 3))), Concat(Fan("rank", 2), 1))
    assert once.labels == turned.labels == ()
    assert once.members[0].shape == turned.members[0].shape == (3, 8, 6)
    (settled,) = {tuple(map(id, settle(made, keys(expert=3, rank=2))))}
    order = [made.members[rank * 3 + expert] for expert in range(3) for rank in range(2)]
    assert settled == tuple(map(id, order))


# -- whole mappings -------------------------------------------------------------------------------

MAPPING = """\
mapengine: 1
name: small
source: {config: config.json, tensors: a.safetensors}
target: {config: config.json, tensors: b.safetensors}
config: {experts: experts, size: size}
dims: {expert: experts, w: [w1, w3]}
tensors:
  - RULE
example: {experts: 3, size: 4}
"""


@pytest.mark.parametrize(
    "rule, place, message",
    [
        ("a -> b.{expert}: {shape: [7], ops: [{split: {into: expert}}]}", ".ops[0].split",
         "axis 0 has 7 rows, not divisible into 3"),
        ("a -> b.{expert}: {shape: [6], ops: [{split: {into: exprt}}]}", ".ops[0].split",
         "there is no index 'exprt'"),
        ("a -> b.{expert}: {shape: [6]}", "", "the rule does not make 'expert'"),
        ("a.{expert} -> b: {shape: [6]}", "", "the rule does not use 'expert' up"),
        ("a, c -> b: {shape: [6]}", "", "the rule does not use the list of keys up"),
        ("a -> b, c: {shape: [6]}", "", "the rule does not make the list of keys"),
        ("a -> b: {shape: [size], ops: [{stack: {over: expert}}]}", ".ops[0].stack",
         "'expert' is not there to be used up"),
        ("a -> b: {shape: [4], ops: [{permute: [1, 0]}]}", ".ops[0].permute",
         "[1, 0] is not every axis of [4] once"),
        ("a -> b: {shape: [4], ops: [{rope_permute: {heads: experts}}]}", ".ops[0].rope_permute",
         "axis 0 has 4 rows, not divisible into 3"),
    ],
)  # fmt: skip
def test_a_mapping_is_refused_at_the_line_of_the_op(rule, place, message, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(MAPPING.replace("RULE", rule), encoding="utf-8")
    (problem,) = api.validate(path)
    assert problem.message == message
    assert problem.where.line == 8
    assert problem.path.endswith(place) and problem.path.startswith("rules[0]")
