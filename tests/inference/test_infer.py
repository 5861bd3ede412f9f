"""Two folders in, a mapping out that makes the one of the other: found by content, then run."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from inference.recovery import measure, row
from inference.ways import (
    CONFIG,
    FFN,
    HIDDEN,
    LAYERS,
    WRITTEN,
    biases,
    by_head,
    by_head_without_bias,
    checkpoint,
    columns,
    cut_and_turned,
    four_axes,
    fused_experts,
    half,
    in_groups,
    interleaved,
    made_of_nothing,
    noise,
    of_eight_bits,
    one_layer,
    one_more,
    partly_turned,
    ranks,
    regrouped,
    reshaped,
    stacked,
    transposed,
    turned,
    turned_back,
    turned_bias,
    uneven,
    ungrouped,
)
from mapengine import api
from mapengine.cli import cli
from mapengine.errors import CheckpointError
from mapengine.inference.infer import infer


def inferred(tmp_path, source, target, **changed):
    torch.manual_seed(0)
    one = checkpoint(tmp_path / "source", "params.json", CONFIG, source)
    other = checkpoint(tmp_path / "target", "config.json", {**WRITTEN, **changed}, target)
    return infer(one, other)


WAYS = {
    transposed: "{transpose: [0, 1]}",
    turned: "{rope_permute: {heads: num_key_value_heads}}",
    turned_back: "{rope_unpermute: {heads: num_attention_heads}}",
    partly_turned: "rotary_dim: 4}}",
    turned_bias: "{rope_permute: {heads: num_attention_heads}}",
    uneven: "sizes: [head_dim * num_attention_heads,",
    in_groups: "rearrange",
    by_head: 'rearrange: "(num_attention_heads 3 a) -> (3 num_attention_heads a)"',
    by_head_without_bias: 'rearrange: "(num_attention_heads 3 a) -> (3 num_attention_heads a)"',
    one_more: "{add: 1}",
    half: "{mul: 0.5}",
    made_of_nothing: "{value: tril, shape: [1, 7, 7], dtype: bool}",
    columns: "{split: {dim: 1}}",
    biases: "{concat: {sizes:",
    stacked: "[{transpose: [0, 1]}, {stack: {over: expert, dim: 0}}]",
    fused_experts: "[{concat: {dim: 0}}, {stack: {over: expert, dim: 0}}]",
    interleaved: "rearrange",
    cut_and_turned: "[{split: {into: expert, dim: 0}}, {transpose: [0, 1]}]",
    four_axes: "{permute: [3, 2, 1, 0]}",
    reshaped: "rearrange",
    regrouped: "{concat: {over: part, sizes: [num_attention_heads // num_key_value_heads",
    ungrouped: "{split: {into: part, sizes: [num_attention_heads // num_key_value_heads",
    of_eight_bits: "{format: fp8_e4m3, block: [16, 16], to: bfloat16}}, {transpose: [0, 1]}]",
}


@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
def test_what_was_done_to_the_tensors_is_found_and_done_again(make, tmp_path):
    found = inferred(tmp_path, *one_layer(make))
    assert found.problems == () and found.unexplained == () and found.differences == ()
    assert WAYS[make] in " ".join(found.text.split())
    assert api.validate(_written(found, tmp_path)) == []


def _written(found, tmp_path):
    path = tmp_path / "inferred.yaml"
    path.write_text(found.text)
    return path


def test_a_dtype_that_all_tensors_get_is_said_once(tmp_path):
    w, b = noise(HIDDEN, FFN, dtype=torch.float32), noise(HIDDEN, dtype=torch.float32)
    target = {"a.weight": w.bfloat16().T, "a.bias": b.bfloat16()}
    found = inferred(tmp_path, {"w": w, "b": b}, target, torch_dtype="bfloat16")
    assert found.complete and "  dtype: bfloat16" in found.text and "cast" not in found.text


def test_a_dtype_that_some_tensors_get_is_said_of_those(tmp_path):
    w, b = noise(HIDDEN, FFN, dtype=torch.float32), noise(HIDDEN, dtype=torch.float32)
    found = inferred(tmp_path, {"w": w, "b": b}, {"a.weight": w.bfloat16(), "a.bias": b})
    assert found.complete and "ops: [{cast: bfloat16}]" in found.text


def test_a_layer_that_is_another_kind_has_a_rule_of_its_own(tmp_path):
    source, target = one_layer(transposed)
    source["layers.0.w"], source["layers.0.dense"] = noise(HIDDEN, FFN), source["layers.0.w"]
    target["model.layers.0.up.weight"] = source["layers.0.w"]
    target["model.layers.0.other"] = source["layers.0.dense"]
    found = inferred(tmp_path, source, target)
    assert found.complete
    assert "when: layer >= 1" in found.text and "when: layer < 1" in found.text


def test_a_number_that_stands_on_one_side_alone_is_no_loop(tmp_path):
    source, target = {}, {}
    for stage, depth in enumerate((3, 2)):
        for layer in range(depth):
            w = noise(HIDDEN, FFN + stage)
            source[f"block{stage + 1}.{layer}.w"] = w
            target[f"model.block.{stage}.{layer}.weight"] = w
    found = inferred(tmp_path, source, target)
    assert found.complete and found.rules == 2


def test_equal_tensors_are_paired_by_their_keys_and_called_a_tie(tmp_path):
    source, target = one_layer(turned)
    for layer in range(LAYERS):
        for ours, theirs in (("attention_norm", "input_norm"), ("ffn_norm", "mlp_norm")):
            source[f"layers.{layer}.{ours}.weight"] = torch.ones(HIDDEN)
            target[f"model.layers.{layer}.{theirs}.weight"] = torch.ones(HIDDEN)
    found = inferred(tmp_path, source, target)
    assert found.complete and any("equal in content" in tie for tie in found.ties)
    assert "ffn_norm.weight -> mlp_norm.weight" in found.text


def test_one_table_that_is_there_twice_is_the_same_or_a_copy(tmp_path):
    table = noise(97, HIDDEN)
    both = {"embed": table, "head": table}
    one = inferred(tmp_path, both, {"embed_tokens": table})
    assert one.complete and "ops: [same]" in one.text
    (tmp_path / "back").mkdir()
    other = inferred(tmp_path / "back", {"embed": table}, {"embed_tokens": table, "lm_head": table})
    assert other.complete and "ops: [copy]" in other.text


def test_what_is_not_in_the_source_is_told_and_not_guessed(tmp_path):
    source, target = one_layer(transposed)
    found = inferred(tmp_path, {**source, "rope.freqs": noise(9)}, {**target, "x": noise(3, 4)})
    assert not found.complete
    assert found.unexplained == ("x",) and found.dropped == ("rope.freqs",)
    assert "# Not explained: x" in found.text and "tensors: [rope.freqs]" in found.text


def test_config_values_are_paired_by_value_and_name(tmp_path):
    found = inferred(tmp_path, *one_layer(transposed))
    assert "hidden_size: {source: dim, target: hidden_size}" in found.text
    assert found.constants == {"hidden_act": "silu"}


def test_replicas_that_have_drifted_apart_are_the_mean(tmp_path):
    torch.manual_seed(0)
    norms, matrices = [noise(HIDDEN) for _ in range(3)], [noise(FFN, HIDDEN) for _ in range(3)]
    parts = [{"norm": n, "w": w, "b": n + 1} for n, w in zip(norms, matrices, strict=True)]
    mean = (norms[0] + norms[1] + norms[2]) / 3
    summed = ((norms[0] + 1) + (norms[1] + 1) + (norms[2] + 1)) / 3 * 3
    target = {"input_norm": mean, "up": torch.cat(matrices), "bias": summed}
    one = ranks(tmp_path / "source", parts)
    found = infer(one, checkpoint(tmp_path / "target", "config.json", WRITTEN, target))
    assert found.complete
    assert "[{mean: {over: rank}}]" in found.text and "{mul: ranks}]" in found.text
    assert "[{concat: {over: rank, dim: 0}}]" in found.text


def test_a_folder_without_tensors_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no file with tensors"):
        infer(tmp_path / "empty", tmp_path / "empty")


PAGE = (Path(__file__).parents[2] / "docs" / "infer.md").read_text()


def test_the_page_shows_what_the_command_finds_and_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = re.search(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1].splitlines()
    commands = [line.split()[2:] for line in shown if line.startswith("$ ")]
    for words in commands:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
    told = [line for line in shown if not line.startswith("$ ")]
    assert done.stderr.splitlines() == told
    lines = (tmp_path / "found.yaml").read_text().splitlines()
    for line in re.search(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1].splitlines():
        assert line in lines


def test_a_mapping_is_not_written_over_and_what_differs_is_said(tmp_path):
    source, target = one_layer(transposed)
    inferred(tmp_path, source, target | {"x": noise(3, 4)})
    output = tmp_path / "found.yaml"
    words = ["infer", str(tmp_path / "source"), str(tmp_path / "target"), "-o", str(output)]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 1 and "not explained: x" in first.stderr
    assert api.load(output).name == "found"
    assert CliRunner().invoke(cli, words).exit_code == 2
    told = CliRunner().invoke(cli, [*words[:3], "--json"])
    assert json.loads(told.stdout)["unexplained"] == ["x"] and told.exit_code == 1


@pytest.mark.parametrize("name", ["mixtral", "llama", "olmoe", "bloom"])
def test_mappings_that_ship_are_found_again_from_their_example(name, tmp_path):
    one = measure(name, tmp_path)
    assert one.inference.complete
    assert row(one) in PAGE
