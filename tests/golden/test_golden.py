import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from golden import compare, sources
from golden.cases import CASES

cases = pytest.mark.parametrize("case", CASES.values(), ids=str)


def test_every_case_is_on_record_and_no_other():
    assert {path.stem for path in compare.DIGESTS.glob("*.json")} == set(CASES)


@cases
def test_the_generator_gives_the_bits_the_record_was_made_from(case):
    record = compare.recorded(case.name)
    assert compare.digest_of_all(sources.weights(case)) == record["source"]


@cases
def test_the_record_has_every_tensor_in_the_dtype_of_the_case(case):
    digests = compare.recorded(case.name)["tensors"]
    assert len(digests) == len(sources.weights(case)) == len(set(digests.values()))
    assert {digest.split()[0] for digest in digests.values()} == {case.dtype}


@cases
def test_the_recorded_config_loads_as_on_record(case):
    record = compare.recorded(case.name)
    if transformers.__version__ != record["versions"]["config_5"]:
        pytest.skip(f"recorded with transformers {record['versions']['config_5']}")
    assert compare.differences(compare.as_loaded(record["config"]), record["config_5"]) == []


@pytest.mark.parametrize("layout", sources.LAYOUTS)
def test_every_layout_holds_the_same_weights(layout, tmp_path):
    case = CASES["gqa"]
    sources.write_source(case, tmp_path, layout)
    held = {}
    for path in sorted(tmp_path.glob("consolidated*")):
        if path.suffix == ".json":
            continue
        part = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
        assert not held.keys() & part.keys()
        held |= part
    wanted = sources.hub_weights(case) if layout == "hub" else sources.weights(case)
    assert compare.digest_of_all(held) == compare.digest_of_all(wanted)


def test_the_hub_layout_stacks_the_experts_and_transposes_w2():
    case = CASES["gqa"]
    logical, hub = sources.weights(case), sources.hub_weights(case)
    experts, rows = case.params["num_local_experts"], case.params["intermediate_size"]
    for expert in range(experts):
        block = slice(expert * rows, (expert + 1) * rows)
        for w in ("w1", "w2", "w3"):
            found = hub[f"layers.1.block_sparse_moe.{w}"][block]
            wanted = logical[f"layers.1.feed_forward.experts.{expert}.{w}.weight"]
            assert torch.equal(found.T if w == "w2" else found, wanted)


def test_the_two_families_of_params_say_the_same():
    case = CASES["mha_kv_heads_absent"]
    assert sources.native_params(case) == {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 4,
        "head_dim": 8,
        "hidden_dim": 48,
        "norm_eps": 1e-05,
        "vocab_size": 96,
        "rope_theta": 1e6,
        "moe": {"num_experts_per_tok": 2, "num_experts": 4},
    }


def test_tensors_of_split_files_are_compared_by_key(tmp_path):
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    for name, key in {"model-00001-of-00002": "a", "model-00002-of-00002": "b"}.items():
        save_file({key: tensors[key]}, tmp_path / f"{name}.safetensors")
    record = {"tensors": {key: compare.digest(tensor) for key, tensor in tensors.items()}}
    assert compare.tensor_differences(tmp_path, record) == []
    save_file({"a": tensors["a"].flip(0)}, tmp_path / "model-00001-of-00002.safetensors")
    (line,) = compare.tensor_differences(tmp_path, record)
    assert line.startswith('a: wanted "int64 3 ')


@pytest.mark.parametrize("weight_map", [{}, {"a": "other.safetensors"}])
def test_an_index_that_lies_is_refused(weight_map, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match="the weight map is not what the files hold"):
        compare.digests_of(tmp_path)


@pytest.mark.parametrize(
    "found, line",
    [
        ({}, "theta: wanted 10000.0, found nothing"),
        ({"theta": 10000}, "theta: wanted 10000.0, found 10000"),
        ({"theta": 1e4, "more": None}, "more: wanted nothing, found null"),
    ],
)
def test_a_difference_names_the_field_and_both_values(found, line):
    assert compare.differences(found | {"transformers_version": "5"}, {"theta": 1e4}) == [line]
