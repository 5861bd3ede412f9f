"""adapter_config.json: what is refused, what is carried, and what follows the new modules."""

import re

import pytest
import torch

import mapengine
from tests.adapters import making
from tests.adapters.small import mapped, mapping_of, model, refused

LAYERS = """
  - l.{layer}.q.weight, l.{layer}.k.weight -> m.{layer}.attn.qk.weight:
      shape: [[4, 6], [4, 6]]
      ops: [concat]
  - l.{layer}.o.weight -> m.{layer}.attn.o.weight
  - l.{layer}.up.weight -> m.{layer}.mlp.o.weight
  - l.{layer}.up.bias -> m.{layer}.mlp.o.bias
  - head.weight -> lm_head.weight
  - norm.weight -> m.norm.weight
"""
WRITTEN = [f"m.{i}.{name}" for i in range(3) for name in ("attn.qk", "attn.o", "mlp.o")]
WRITTEN += ["lm_head", "m.norm", "m", "m.0", "m.0.attn", "m.0.mlp"]


def layered(*modules, **more):
    weights = {
        f"l.{i}.{n}.weight": torch.zeros(4, 6) for i in range(3) for n in ("q", "k", "o", "up")
    }
    weights["head.weight"] = torch.zeros(8, 6)
    return making.random_lora(weights, modules, **more)


def targeted(lora):
    """The modules that PEFT puts factors into: those that end in a listed name."""
    names = lora.config["target_modules"]
    return {one for one in WRITTEN if any(f".{one}".endswith(f".{name}") for name in names)}


@pytest.mark.parametrize(
    "modules, names",
    [
        (["l.0.q", "l.1.q", "l.2.k"], ["qk"]),
        (["l.1.q"], ["1.attn.qk"]),
        (["l.0.o", "l.1.o", "l.2.o"], ["attn.o"]),
        (["l.0.o", "l.1.o", "l.2.o", "l.0.up", "l.1.up", "l.2.up"], ["o"]),
        (["l.0.o", "head"], ["0.attn.o", "lm_head"]),
    ],
)
def test_target_modules_are_those_that_have_factors_and_no_others(modules, names, tmp_path):
    new = mapped(LAYERS, layered(*modules, layers_to_transform=[0], layers_pattern="l"), tmp_path)
    assert new.config["target_modules"] == names
    assert targeted(new) == new.factors.keys()
    assert new.config["layers_to_transform"] is None and new.config["layers_pattern"] is None


def test_ranks_and_alphas_follow_their_modules(tmp_path):
    modules = [f"l.{i}.{name}" for i in range(3) for name in ("q", "k", "o", "up")]
    lora = layered(*modules, ranks={"l.1.o": 2, "l.1.q": 6}, alpha_pattern={"up": 16, "0.o": 3})
    new = mapped(LAYERS, lora, tmp_path)
    assert (new.config["r"], new.config["lora_alpha"]) == (4, 8)
    ranks = {module: a.shape[0] for module, (a, _) in new.factors.items()}
    assert ranks == {module: new.pattern("rank_pattern", module, 4) for module in ranks}
    assert ranks["m.0.attn.qk"] == 8 and ranks["m.1.attn.qk"] == 10
    alphas = {module: new.pattern("alpha_pattern", module, 8) for module in ranks}
    assert alphas["m.2.attn.qk"] == 16 and alphas["m.2.mlp.o"] == 16 and alphas["m.0.attn.o"] == 3


def test_the_most_common_rank_is_the_default_where_none_has_the_old_one(tmp_path):
    new = mapped(LAYERS, layered("l.0.q", "l.0.k", "l.1.q", "l.1.k"), tmp_path)
    assert (new.config["r"], new.config["lora_alpha"]) == (8, 16)
    assert not new.config["rank_pattern"] and not new.config["alpha_pattern"]


def test_what_does_not_concern_the_factors_is_carried(tmp_path):
    lora = layered("head", task_type="CAUSAL_LM", lora_dropout=0.1, peft_version="0.17", new=None)
    lora.config |= {
        "base_model_name_or_path": "meta/old",
        "revision": "x",
        "auto_mapping": {"a": 1},
    }
    new = mapped(LAYERS, lora, tmp_path, base_model="org/new")
    assert new.config["task_type"] == "CAUSAL_LM" and new.config["lora_dropout"] == 0.1
    assert new.config["new"] is None and new.config["base_model_name_or_path"] == "org/new"
    assert new.config["revision"] is None and new.config["auto_mapping"] is None


UNSUPPORTED = {
    "use_dora": True,
    "lora_bias": True,
    "use_qalora": True,
    "layer_replication": [[0, 2], [1, 3]],
    "target_parameters": ["experts.gate_up_proj"],
    "trainable_token_indices": [1, 2],
    "kasa_config": {"beta": 1e-4},
    "ensure_weight_tying": True,
    "init_lora_weights": "pissa_niter_16",
    "peft_type": "IA3",
    "something_new": {"strength": 2},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_other_kinds_of_adapters_are_refused_by_name(name, tmp_path):
    weights = model(a=(4, 6))
    lora = making.random_lora(weights, ["a"], **{name: UNSUPPORTED[name]})
    (problem,) = refused("  - a.weight\n", weights, lora, tmp_path)
    assert problem.code == "ME431" and name in problem.message


WRONG = {
    "r": (0, True, 2.5, None, "4"),
    "lora_alpha": (0, None, "8", True),
    "use_rslora": (1, "yes"),
    "fan_in_fan_out": ("true",),
    "bias": ("some", 1),
    "modules_to_save": ("head", [1], {"head": 1}),
    "rank_pattern": ([1], {"a": 0}, {"a": True}),
    "alpha_pattern": ([1], {"a": "8"}, {"a": 0}),
}
KINDS = [pytest.param(n, v, id=f"{n} {v}") for n, values in WRONG.items() for v in values]


@pytest.mark.parametrize("name, value", KINDS)
def test_values_of_another_kind_are_refused(name, value, tmp_path):
    weights = model(a=(4, 6))
    lora = making.random_lora(weights, ["a"])
    lora.config[name] = value
    problems = refused("  - a.weight\n", weights, lora, tmp_path)
    assert any(one.code == "ME430" and name in one.message for one in problems)


def test_a_foreign_regular_expression_is_never_run(tmp_path):
    weights = {f"{'a' * 40}.weight": torch.randn(4, 6)}
    lora = making.random_lora(weights, ["a" * 40], target_modules="(a+)+$(a+)+b",
                              rank_pattern={"(a|a|aa)*b": 4}, exclude_modules="(a*)*c")  # fmt: skip
    assert refused(f"  - {'a' * 40}.weight\n", weights, lora, tmp_path) == ()
    lora.config["alpha_pattern"] = {"(a|a|aa)*b": 16}
    (problem,) = refused(f"  - {'a' * 40}.weight\n", weights, lora, tmp_path / "2")
    assert problem.code == "ME431" and "regular expression" in problem.message


ENDS = "  - a.weight -> x.weight\n  - b.weight -> m.x.weight\n  - c.weight\n"


@pytest.mark.parametrize(
    "modules, wanted",
    [
        (["a"], "x"),
        (["b"], ["m.x"]),
        (["a", "c"], r"x|(?:.*\.)?c"),
        (["a", "b"], ["x"]),
    ],
)
def test_a_name_that_is_the_end_of_another_is_told_by_a_pattern(modules, wanted, tmp_path):
    lora = making.random_lora(model(a=(4, 6), b=(4, 6), c=(4, 6)), modules)
    assert mapped(ENDS, lora, tmp_path).config["target_modules"] == wanted


def test_ranks_are_told_of_a_name_that_is_the_end_of_another(tmp_path):
    lora = making.random_lora(model(a=(4, 6), b=(4, 6)), ["a", "b"], ranks={"a": 3})
    new = mapped(ENDS, lora, tmp_path / "there")
    ranks = {module: new.pattern("rank_pattern", module, 4) for module in new.factors}
    assert ranks == {"x": 3, "m.x": 4} and new.config["r"] == 4
    assert mapped(ENDS, new, tmp_path / "back", reverse=True).config["rank_pattern"] == {"a": 3}


def test_a_module_to_save_that_is_the_end_of_another_is_refused(tmp_path):
    lora = making.random_lora(model(c=(4, 6)), ["c"], modules_to_save=["a"])
    lora.whole = {"a.weight": torch.randn(4, 6)}
    job = mapengine.Job(mapping_of(ENDS), None, adapter=lora.write(tmp_path / "adapter"))
    (problem,) = making.refusal(job)
    assert problem.code == "ME344" and "PEFT saves m.x too where it saves x" in problem.message


# -- tensors that are there whole -------------------------------------------------------------


def test_modules_that_are_saved_are_renamed(tmp_path):
    lora = layered("l.0.q", modules_to_save=["head", "score"])
    lora.whole = {"head.weight": torch.randn(8, 6)}
    new = mapped(LAYERS, lora, tmp_path)
    assert new.config["modules_to_save"] == ["lm_head"]
    assert torch.equal(new.whole["lm_head.weight"], lora.whole["head.weight"])


def test_the_end_of_a_word_is_no_name_for_a_module_to_save(tmp_path):
    rules = "  - a.weight -> x.head.weight\n  - b.weight -> lm_head.weight\n  - c.weight\n"
    weights = model(a=(4, 6), b=(4, 6), c=(4, 6))
    lora = making.random_lora(weights, ["c"], modules_to_save=["a"])
    lora.whole = {"a.weight": torch.randn(4, 6)}
    assert mapped(rules, lora, tmp_path).config["modules_to_save"] == ["x.head"]


def test_a_module_is_saved_whole_or_not_at_all(tmp_path):
    lora = layered("l.0.q", modules_to_save=["l.1.up"])
    lora.whole = {"l.1.up.weight": torch.randn(4, 6)}
    (problem,) = making.refusal(
        mapengine.Job(mapping_of(LAYERS), None, adapter=lora.write(tmp_path / "adapter"))
    )
    assert problem.code == "ME343" and "m.1.mlp.o.bias is not in the adapter" in problem.message


def test_what_is_replaced_in_part_is_refused(tmp_path):
    lora = layered("l.0.o", modules_to_save=["l.1.q"])
    lora.whole = {"l.1.q.weight": torch.randn(4, 6)}
    job = mapengine.Job(mapping_of(LAYERS), None, adapter=lora.write(tmp_path / "adapter"))
    (problem,) = making.refusal(job)
    assert problem.code == "ME343" and "l.1.k.weight" in problem.message


def test_what_the_mapping_says_itself_may_be_whole_if_it_is_that(tmp_path):
    rules = "  - -> a.bias: {value: zeros, shape: [4], dtype: float32}\n  - a.weight\n"
    lora = making.random_lora(model(a=(4, 6)), ["a"], bias="all")
    lora.whole = {"a.base_layer.bias": torch.zeros(4)}
    assert mapped(rules, lora, tmp_path, reverse=True).whole == {}
    lora.whole = {"a.base_layer.bias": torch.ones(4)}
    with pytest.raises(mapengine.PlanError, match=r"a\.bias"):
        mapped(rules, lora, tmp_path / "2", reverse=True)


def test_biases_lie_in_the_base_layer_where_there_are_factors(tmp_path):
    lora = layered("l.0.up", bias="all")
    biases = {f"l.{i}.up.bias": torch.randn(4) for i in (0, 1)}
    lora.whole = {
        "l.0.up.base_layer.bias": biases["l.0.up.bias"],
        "l.1.up.bias": biases["l.1.up.bias"],
    }
    new = mapped(LAYERS, lora, tmp_path)
    assert new.whole.keys() == {"m.0.mlp.o.base_layer.bias", "m.1.mlp.o.bias"}
    assert torch.equal(new.whole["m.1.mlp.o.bias"], lora.whole["l.1.up.bias"])
    assert new.config["bias"] == "all" and new.config["modules_to_save"] is None


def test_a_table_may_lie_beside_its_factors(tmp_path):
    lora = layered("head", tables=["head"])
    lora.whole = {"head.base_layer.weight": torch.randn(8, 6)}
    new = mapped(LAYERS, lora, tmp_path)
    assert new.whole.keys() == {"lm_head.base_layer.weight"} and new.tables == {"lm_head"}


def test_keys_are_those_that_peft_writes(tmp_path):
    new = mapped(LAYERS, layered("l.0.q", "head", tables=["head"]), tmp_path)
    assert set(new.tensors) == {
        "base_model.model.lm_head.lora_embedding_A",
        "base_model.model.lm_head.lora_embedding_B",
        "base_model.model.m.0.attn.qk.lora_A.weight",
        "base_model.model.m.0.attn.qk.lora_B.weight",
    }
    assert all(re.fullmatch(r"base_model\.model\..+", key) for key in new.tensors)
