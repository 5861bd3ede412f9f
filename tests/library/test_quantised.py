"""Quantised checkpoints, as transformers itself makes numbers of them, and as the mappings do."""

import dataclasses
import json

import pytest
import torch
import transformers
from golden import compare
from safetensors.torch import load_file, save_file

from library.cases import CASES
from mapengine import api
from mapengine.errors import MapengineError

LOADED_BOTH_WAYS = {
    # transformers divides shapes where blocks are partial, so only whole ones come out right there
    "deepseek_v3-whole_blocks": ("DeepseekV3ForCausalLM", "FineGrainedFP8Config"),
    "gpt_oss-small": ("GptOssForCausalLM", "Mxfp4Config"),
    "gpt_oss-wide": ("GptOssForCausalLM", "Mxfp4Config"),
}


def converted(case, folder):
    """Makes the case's source and what becomes of it."""
    job = case.job(folder / "source", case.write_source(folder / "source"))
    api.run(job, folder / "there", sync=False)
    return job


@pytest.mark.parametrize("name", LOADED_BOTH_WAYS)
def test_what_transformers_loads_of_the_source_is_what_it_loads_of_the_result(name, tmp_path):
    model, quantised = (getattr(transformers, word) for word in LOADED_BOTH_WAYS[name])
    if quantised is transformers.FineGrainedFP8Config:
        pytest.importorskip("accelerate")
    converted(CASES[name], tmp_path)
    source = model.from_pretrained(
        tmp_path / "source", quantization_config=quantised(dequantize=True), dtype=torch.bfloat16
    )
    there = model.from_pretrained(tmp_path / "there", dtype=torch.bfloat16)
    wanted, found = source.state_dict(), there.state_dict()
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert (found[key].dtype, found[key].shape) == (tensor.dtype, tensor.shape)
        assert found[key].equal(tensor), key


FUSED = """\
mapengine: 1
name: fused
source: {config: config.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config:
  layers: num_hidden_layers
  dense: first_k_dense_replace
  experts: n_routed_experts
  carry: rest
dims:
  layer: layers
  expert: experts
  half: [gate, up]
  every: [gate, up, down]
  norm: [input, post_attention]
  attention:
    [q_a_layernorm, kv_a_layernorm, q_a_proj, q_b_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj]
tensors:
  - model.embed_tokens.weight
  - model.norm.weight
  - lm_head.weight
  - model.layers.{layer}.{norm}_layernorm.weight
  - model.layers.{layer}.self_attn.{attention}.weight
  - model.layers.{layer}.mlp.{every}_proj.weight: {when: layer < dense}
  - scope: model.layers.{layer}.mlp.
    when: layer >= dense
    tensors:
      - gate.weight
      - gate.e_score_correction_bias: {ops: [{cast: {to: float32, from: bfloat16}}]}
      - shared_experts.{every}_proj.weight
      - experts.{expert}.{half}_proj.weight -> experts.gate_up_proj:
          ops: [{concat: {over: half}}, {stack: {over: expert}}]
      - experts.{expert}.down_proj.weight -> experts.down_proj: {ops: [{stack: {over: expert}}]}
"""


@pytest.mark.parametrize("name", ["partial_blocks", "whole_blocks", "dense_layers"])
def test_numbers_are_fused_in_the_same_pass(name, tmp_path):
    (tmp_path / "fused.yaml").write_text(FUSED)
    job = converted(CASES[f"deepseek_v3-{name}"], tmp_path)
    fused = dataclasses.replace(job, then=tmp_path / "fused.yaml")
    api.run(fused, tmp_path / "fused", sync=False)
    there = transformers.DeepseekV3ForCausalLM.from_pretrained(
        tmp_path / "there", dtype=torch.bfloat16
    )
    file, memory = load_file(tmp_path / "fused" / "model.safetensors"), there.state_dict()
    assert file.keys() == memory.keys()
    assert compare.digest_of_all(file) == compare.digest_of_all(memory)


# -- the layer that predicts a second token --------------------------------------------------------


def with_layer(case, folder, layer):
    """The case's source with two tensors more, below a layer that the rules do not know."""
    job = case.job(folder / "source", case.write_source(folder / "source"))
    path = folder / "source" / "model.safetensors"
    more = {
        f"model.layers.{layer}.enorm.weight": torch.ones(4),
        f"model.layers.{layer}.mlp.experts.0.up_proj.weight": torch.ones(4),
    }
    save_file(load_file(path) | more, path)
    path = folder / "source" / "config.json"
    more = {"num_nextn_predict_layers": 1, "rope_theta": 10000, "torch_dtype": "bfloat16"}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return job


@pytest.mark.parametrize("name, layers", [("partial_blocks", 2), ("dense_layers", 3)])
def test_the_layer_after_the_last_is_left_behind_whatever_its_number(name, layers, tmp_path):
    case = CASES[f"deepseek_v3-{name}"]
    api.run(with_layer(case, tmp_path, layers), tmp_path / "there", sync=False)
    keys = load_file(tmp_path / "there" / "model.safetensors").keys()
    assert not any(key.startswith(f"model.layers.{layers}.") for key in keys)
    assert any(key.startswith(f"model.layers.{layers - 1}.") for key in keys)
    config = json.loads((tmp_path / "there" / "config.json").read_text())
    assert config["num_nextn_predict_layers"] == 0
    assert config["rope_theta"] == 10000  # what the mapping does not name goes along
    assert "quantization_config" not in config


def test_any_other_layer_is_refused(tmp_path):
    with pytest.raises(MapengineError) as refused:
        api.plan(with_layer(CASES["deepseek_v3-partial_blocks"], tmp_path, 3))
    (problem,) = refused.value.problems
    assert problem.code == "ME314"
    assert "model.layers.3.enorm.weight" in problem.message


@pytest.mark.parametrize("key, value", [("fmt", "e5m2"), ("weight_block_size", [64, 64])])
def test_weights_of_another_format_are_refused(key, value, tmp_path):
    case = CASES["deepseek_v3-partial_blocks"]
    job = case.job(tmp_path / "source", case.write_source(tmp_path / "source"))
    path = tmp_path / "source" / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(MapengineError) as refused:
        api.plan(job)
    assert f"quantization_config.{key}" in str(refused.value)
