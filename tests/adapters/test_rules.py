"""What each kind of op does to the factors of an update, and where it may not do it."""

from pathlib import Path

import pytest
import torch

import mapengine
from mapengine.language.document import read_document
from mapengine.language.reading import read_mapping
from tests.adapters import making
from tests.adapters.small import mapping_of, model, proven, refused, write

QKV = """
  - qkv.weight -> q.weight, k.weight, v.weight:
      ops: [{split: {dim: %s}}]
"""
GROUPED = """
  - qkv.weight -> q.weight, k.weight, v.weight:
      shape: [24, 5]
      ops:
        - rearrange: "(groups slot 2) d -> groups slot 2 d"
        - {split: {dim: 1, sizes: [2, 1, 1]}}
        - rearrange: "groups slot 2 d -> (groups slot 2) d"
"""
JOIN = """
  - q.weight, k.weight, v.weight -> qkv.weight:
      shape: [[4, 6], [4, 6], [4, 6]]
      ops: [{concat: {dim: %s}}]
"""
ROTARY = "  - a.weight -> b.weight: {ops: [{rope_permute: {heads: heads}}]}\n"
TURNED = "  - a.weight -> b.weight: {ops: [{transpose: [0, 1]}]}\n"
TIED = "  - a.weight, c.weight -> b.weight: {shape: [[4, 6], [4, 6]], ops: [same]}\n"


def by(*ops):
    """A rule that makes b of a."""
    return f"  - a.weight -> b.weight: {{ops: [{', '.join(f'{{{op}}}' for op in ops)}]}}\n"


LEGAL = {
    "renamed": ("  - a.weight -> b.weight\n", {"a": (4, 6)}, 4),
    "rotary": (ROTARY, {"a": (12, 5)}, 4),
    "rotary in part": (by("rope_permute: {heads: heads, rotary_dim: 4}"), {"a": (12, 5)}, 4),
    "rows": (by('rearrange: "(heads x) d -> (x heads) d"'), {"a": (12, 5)}, 4),
    "columns": (by('rearrange: "d (heads x) -> d (x heads)"'), {"a": (5, 12)}, 4),
    "turned and moved": (
        by('rearrange: "(groups x) (heads y) -> (y heads) (x groups)"'),
        {"a": (12, 10)},
        4,
    ),
    "split by rows": (QKV % 0, {"qkv": (12, 5)}, 4),
    "split by columns": (QKV % 1, {"qkv": (5, 12)}, 4),
    "split by groups": (GROUPED, {"qkv": (24, 5)}, 4),
    "rotary in part, and split by columns": (
        """
  - a.weight -> b.weight, c.weight, d.weight:
      ops: [{rope_permute: {heads: heads, rotary_dim: 4}}, {split: {dim: 1}}]
""",
        {"a": (12, 6)},
        4,
    ),
    "joined by rows": (JOIN % 0, {"q": (4, 6), "k": (4, 6), "v": (4, 6)}, 12),
    "joined by columns": (JOIN % 1, {"q": (4, 6), "k": (4, 6), "v": (4, 6)}, 12),
    "multiplied": (by("mul: -0.3"), {"a": (4, 6)}, 4),
    "divided, and added to": (by("mul: 3", "add: 1"), {"a": (4, 6)}, 4),
    "copied": ("  - a.weight -> b.weight, c.weight: {ops: [copy]}\n", {"a": (4, 6)}, 4),
    "one row": (TURNED, {"a": (1, 6)}, 4),
    "one column": (TURNED, {"a": (6, 1)}, 4),
}


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("rules, shapes, rank", LEGAL.values(), ids=LEGAL)
def test_merging_and_mapping_commute(rules, shapes, rank, rslora, tmp_path):
    weights = model(**shapes)
    lora = making.random_lora(weights, making.matrices(weights), use_rslora=rslora)
    found, new = proven(rules, weights, lora, tmp_path)
    assert found < 1e-6
    assert {a.shape[0] for a, _ in new.factors.values()} == {rank}


def test_a_permutation_is_of_b_alone_and_bit_for_bit(tmp_path):
    weights = model(a=(12, 5))
    lora = making.random_lora(weights, ["a"])
    _, new = proven(ROTARY, weights, lora, tmp_path)
    (a, b), (new_a, new_b) = lora.factors["a"], new.factors["b"]
    assert torch.equal(new_a, a)
    assert torch.equal(new_b, b.reshape(2, 3, 2, 4).transpose(1, 2).reshape(12, 4))


def test_a_turned_weight_keeps_its_inputs_and_is_stored_with_them_first(tmp_path):
    weights = model(a=(4, 6))
    lora = making.random_lora(weights, ["a"])
    found, new = proven(TURNED, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["fan_in_fan_out"] is True
    assert all(map(torch.equal, new.factors["b"], lora.factors["a"]))


def test_a_weight_with_inputs_first_is_turned_into_a_plain_one(tmp_path):
    weights = model(a=(4, 6))
    lora = making.random_lora(weights, ["a"], fan_in_fan_out=True)
    found, new = proven(TURNED, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["fan_in_fan_out"] is False


def test_one_flag_cannot_be_of_two_kinds_of_weights(tmp_path):
    weights = model(a=(4, 6), c=(4, 6))
    lora = making.random_lora(weights, ["a", "c"])
    (problem,) = refused(TURNED + "  - c.weight\n", weights, lora, tmp_path)
    assert problem.code == "ME344" and "b is stored with inputs first, and c is not" in str(problem)


def test_a_table_keeps_being_one(tmp_path):
    weights = model(a=(12, 5))
    lora = making.random_lora(weights, ["a"], tables=["a"])
    found, new = proven(by('rearrange: "(heads x) d -> (x heads) d"'), weights, lora, tmp_path)
    assert found < 1e-6 and new.tables == {"b"}


def test_joined_weights_that_share_a_share_its_ranks(tmp_path):
    weights = model(q=(4, 6), k=(4, 6), v=(4, 6))
    lora = making.random_lora(weights, ["q", "k", "v"])
    shared = lora.factors["q"][0]
    lora.factors = {name: (shared.clone(), b) for name, (_, b) in lora.factors.items()}
    found, new = proven(JOIN % 0, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["r"] == 4 and new.config["lora_alpha"] == 8
    assert torch.equal(new.factors["qkv"][0], shared)


def test_weights_joined_by_columns_that_share_b_share_its_ranks(tmp_path):
    weights = model(q=(4, 6), k=(4, 6), v=(4, 6))
    lora = making.random_lora(weights, ["q", "k", "v"])
    shared = lora.factors["q"][1]
    lora.factors = {name: (a, shared.clone()) for name, (a, _) in lora.factors.items()}
    found, new = proven(JOIN % 1, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["r"] == 4
    assert torch.equal(new.factors["qkv"][1], shared)


@pytest.mark.parametrize("rslora", [False, True])
def test_what_is_joined_may_have_scales_and_ranks_of_its_own(rslora, tmp_path):
    weights = model(q=(4, 6), k=(4, 6), v=(4, 6))
    lora = making.random_lora(weights, ["q", "k", "v"], ranks={"k": 3}, use_rslora=rslora,
                              alpha_pattern={"v": 5, "^q": 1.5})  # fmt: skip
    found, new = proven(JOIN % 0, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["r"] == 11


def test_scales_that_are_powers_of_two_apart_keep_the_dtype(tmp_path):
    weights = model(q=(4, 6), k=(4, 6), v=(4, 6))
    lora = making.random_lora(weights, ["q", "k", "v"], alpha_pattern={"v": 2, "q": 16})
    lora.factors = {n: (a.bfloat16(), b.bfloat16()) for n, (a, b) in lora.factors.items()}
    found, new = proven(JOIN % 0, weights, lora, tmp_path)
    assert found < 1e-6 and new.factors["qkv"][1].dtype is torch.bfloat16
    lora.config["alpha_pattern"] = {"v": 3}
    found, new = proven(JOIN % 0, weights, lora, tmp_path / "3")
    assert found < 1e-6 and new.factors["qkv"][1].dtype is torch.float32


def test_a_part_without_an_update_has_zeros(tmp_path):
    weights = model(q=(4, 6), k=(4, 6), v=(4, 6))
    lora = making.random_lora(weights, ["k"])
    found, new = proven(JOIN % 0, weights, lora, tmp_path)
    b = new.factors["qkv"][1]
    assert found < 1e-6 and new.config["r"] == 4
    assert torch.equal(b[4:8], lora.factors["k"][1]) and not b[:4].any() and not b[8:].any()


def test_the_way_back_undoes_the_way_there_bit_for_bit(tmp_path):
    weights = model(qkv=(24, 5))
    lora = making.random_lora(weights, ["qkv"])
    write(tmp_path / "model", weights)
    there = mapengine.Job(
        mapping_of(GROUPED), tmp_path / "model", adapter=lora.write(tmp_path / "a")
    )
    mapengine.run(there, tmp_path / "there", sync=False)
    back = mapengine.Job(mapping_of(GROUPED), tmp_path / "model", adapter=tmp_path / "there",
                         reverse=True)  # fmt: skip
    mapengine.run(back, tmp_path / "back", sync=False)
    again = making.Lora.read(tmp_path / "back")
    assert all(map(torch.equal, again.factors["qkv"], lora.factors["qkv"]))
    assert (again.config["r"], again.config["lora_alpha"]) == (4, 8)


def test_a_fused_weight_taken_apart_has_its_parts_of_the_update(tmp_path):
    weights = model(q=(12, 5), k=(6, 5), v=(6, 5))
    lora = making.random_lora(weights, ["q", "v"])
    found, new = proven(GROUPED, weights, lora, tmp_path, reverse=True)
    assert found < 1e-6 and new.factors["qkv"][0].shape == (8, 5)


@pytest.mark.parametrize(
    "rule, shape",
    [
        ("  - a.weight -> b.weight\n", (4, 3, 2, 2)),
        (by('rearrange: "o i x y -> o (i x y)"'), (4, 3, 2, 2)),
        (by('rearrange: "(heads o) i x -> (o heads) i x"'), (4, 3, 2)),
        (by("permute: [0, 1, 3, 2]"), (4, 3, 2, 5)),
    ],
)
def test_convolutions_have_factors_too(rule, shape, tmp_path):
    weights = model(a=shape)
    lora = making.random_lora(weights, ["a"])
    found, _ = proven(rule, weights, lora, tmp_path)
    assert found < 1e-6


def test_a_cast_is_of_both_factors_and_dtype_of_all_others(tmp_path):
    weights = model(a=(4, 6), c=(4, 6))
    lora = making.random_lora(weights, ["a", "c"])
    rules = by("cast: bfloat16") + "  - c.weight\n"
    write(tmp_path / "model", weights)
    adapter = lora.write(tmp_path / "adapter")
    job = mapengine.Job(mapping_of(rules), tmp_path / "model", adapter=adapter, dtype="float16")
    mapengine.run(job, tmp_path / "new", sync=False)
    new = making.Lora.read(tmp_path / "new")
    assert {one.dtype for one in new.factors["b"]} == {torch.bfloat16}
    assert {one.dtype for one in new.factors["c"]} == {torch.float16}


@pytest.mark.parametrize("dim", [0, 1])
def test_what_is_padded_is_not_updated(dim, tmp_path):
    weights = model(a=(4, 4))
    lora = making.random_lora(weights, ["a"])
    found, new = proven(by(f"pad: {{dim: {dim}, from: 4, to: 6}}"), weights, lora, tmp_path)
    assert found < 1e-6
    assert not new.delta("b").narrow(dim, 4, 2).any()


APART = "rows and columns do not stay apart"
ILLEGAL = {
    "mixed": (by('rearrange: "(x heads) d -> x (heads d)"'), {"a": (12, 5)}, ["a"], "ME340", APART),
    "mixed by a cut": (
        by('rearrange: "x y -> (x y)"', 'rearrange: "(x 4) -> x 4"'),
        {"a": (12, 5)}, ["a"], "ME340", APART),
    "one row, laid out in between": (
        by("rope_permute: {heads: heads, rotary_dim: 4}", 'rearrange: "x y -> 1 (x y)"'),
        {"a": (12, 5)}, ["a"], "ME340", APART),
    "one column, laid out in between": (
        by("rope_permute: {heads: heads, rotary_dim: 4}", 'rearrange: "x y -> (x y) 1"'),
        {"a": (12, 5)}, ["a"], "ME340", APART),
    "flat": (
        by('rearrange: "x y -> (x y)"'), {"a": (12, 5)}, ["a"], "ME340", "which is no matrix"),
    "stacked": (
        "  - a.weight, c.weight -> b.weight: {shape: [[4, 6], [4, 6]], ops: [stack]}\n",
        {"a": (4, 6), "c": (4, 6)}, ["a"], "ME340", APART),
    "a parameter": (
        "  - a.weight -> b\n", {"a": (4, 6)}, ["a"], "ME341", "b, which is no module's weight"),
    "a convolution of a matrix": (
        by('rearrange: "o (i 3 2) -> o i 3 2"'), {"a": (4, 12)}, ["a"], "ME341",
        "only convolutions have such weights"),
    "of integers": (
        by("cast: int8"), {"a": (4, 6)}, ["a"], "ME341", "int8, which holds no small updates"),
    "tied, and one of the two updated": (
        TIED, {"a": (4, 6), "c": (4, 6)}, ["a"], "ME340", "must stay equal to others"),
    "tied, and updated otherwise": (
        TIED, {"a": (4, 6), "c": (4, 6)}, ["a", "c"], "ME340", "must stay equal to others"),
    "cut": (
        by("unpad: {from: 4, to: 3, unchecked: true}"),
        {"a": (4, 6)}, ["a"], "ME340", "1 rows of it come to no target"),
    "of few bits": (
        "  - a.weight, c.weight -> b.weight:\n      shape: [[4, 6], [2, 2]]\n"
        "      dtype: [float8_e4m3fn, float32]\n"
        "      ops: [{dequantize: {format: fp8_e4m3, block: [2, 3], to: bfloat16}}]\n",
        {"a": (4, 6), "c": (2, 2)}, ["a"], "ME340", "computed with"),
    "no shape": (
        "  - a.weight, c.weight -> b.weight: {ops: [concat]}\n",
        {"a": (4, 6), "c": (4, 6)}, ["a"], "ME342", "the rule states no shape"),
    "no rule": (
        "  - a.weight\n", {"c": (4, 6)}, ["c"], "ME342", "no rule takes from the source"),
    "two rules": (
        "  - a.weight\n  - a.weight -> c.weight\n", {"a": (4, 6)}, ["a"], "ME312", "used twice"),
    "another shape": (
        "  - a.weight: {shape: [4, 7]}\n", {"a": (4, 6)}, ["a"], "ME311", "in adapter_model"),
}  # fmt: skip


@pytest.mark.parametrize("rules, shapes, modules, code, words", ILLEGAL.values(), ids=ILLEGAL)
def test_what_is_not_legal_is_refused_with_its_rule(rules, shapes, modules, code, words, tmp_path):
    weights = model(**shapes)
    (problem,) = refused(rules, weights, making.random_lora(weights, modules), tmp_path)
    assert problem.code == code and words in problem.message, problem
    assert problem.where is not None and problem.where.file == "small.yaml"
    assert problem.help or code.startswith("ME31")


def test_tied_weights_that_are_updated_alike_stay_one(tmp_path):
    weights = model(a=(4, 6))
    weights["c.weight"] = weights["a.weight"].clone()
    lora = making.random_lora(weights, ["a"])
    lora.factors["c"] = tuple(one.clone() for one in lora.factors["a"])
    rules = "  - a.weight, c.weight -> b.weight: {ops: [same]}\n"
    found, new = proven(rules, weights, lora, tmp_path)
    assert found < 1e-6 and new.config["r"] == 4


def test_of_a_copied_table_nobody_knows_which_is_one(tmp_path):
    weights = model(a=(4, 6))
    lora = making.random_lora(weights, ["a"], tables=["a"])
    rules = "  - a.weight -> b.weight, c.weight: {ops: [copy]}\n"
    (problem,) = refused(rules, weights, lora, tmp_path)
    assert problem.code == "ME341" and "is a table is not known" in problem.message


def test_an_update_of_what_is_left_out_is_not_lost_in_silence(tmp_path):
    rules = "  - -> mask.weight: {value: tril, shape: [4, 4], dtype: float32}\n  - a.weight\n"
    weights = model(a=(4, 6), mask=(4, 4))
    lora = making.random_lora(weights, ["a", "mask"])
    (problem,) = refused(rules, weights, lora, tmp_path, reverse=True)
    assert problem.code == "ME340" and "its update comes to no target" in problem.message


def test_a_problem_of_every_layer_is_told_once(tmp_path):
    weights = {f"l.{i}.a.weight": torch.randn(4, 6) for i in range(3)}
    lora = making.random_lora(weights, ["l.0.a", "l.1.a"])
    problems = refused("  - l.{layer}.a.weight -> l.{layer}.a\n", weights, lora, tmp_path)
    assert len(problems) == 1


def test_the_sizes_may_be_set_where_there_is_no_model(tmp_path):
    weights = model(a=(12, 5))
    lora = making.random_lora(weights, ["a"]).write(tmp_path / "adapter")
    job = mapengine.Job(mapping_of(ROTARY), None, {"heads": 2}, adapter=lora)
    mapengine.run(job, tmp_path / "new", sync=False)
    assert (Path(tmp_path) / "new" / "adapter_model.safetensors").is_file()
    (problem,) = making.refusal(mapengine.Job(mapping_of(ROTARY), None, adapter=lora))
    assert problem.code == "ME401" and "heads" in problem.message and "--source DIR" in problem.help


RANKS = """
mapengine: 1
name: parallel
source: {config: config.json, tensors: "model.{rank}.pt"}
target: {config: config.json, tensors: model.safetensors}
config:
  ranks: {source: tp, %s}
  carry: [heads]
dims: {layer: 1%s}
tensors:
  - a.weight -> b.weight: {shape: [12 // ranks, 5], ops: [{concat: {over: rank, dim: 0}}]}
  - c.weight -> d.weight: {shape: [4, 8 // ranks], ops: [{concat: {over: rank, dim: 1}}]}
"""


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "field, dims",
    [("target: tp", ", rank: ranks"), ("compute: \"count('model.{rank}.pt')\", default: 1", "")],
)
def test_an_adapter_is_of_the_whole_model_however_many_files_that_has(
    field, dims, reverse, tmp_path
):
    mapping = read_mapping(read_document(RANKS % (field, dims), "small.yaml"))
    weights = model(b=(12, 5), d=(4, 8)) if reverse else model(a=(12, 5), c=(4, 8))
    lora = making.random_lora(weights, making.matrices(weights))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"tp": 4, "heads": 2}')
    for rank in range(4):
        torch.save({"a.weight": torch.zeros(3, 5)}, tmp_path / "model" / f"model.{rank}.pt")
    job = mapengine.Job(mapping, tmp_path / "model", reverse=reverse,
                        adapter=lora.write(tmp_path / "adapter"))  # fmt: skip
    mapengine.run(job, tmp_path / "new", sync=False)
    new = making.Lora.read(tmp_path / "new")
    assert list(new.factors) == (["a", "c"] if reverse else ["b", "d"])
    for old, one in zip(lora.factors.values(), new.factors.values(), strict=True):
        assert all(map(torch.equal, old, one))
