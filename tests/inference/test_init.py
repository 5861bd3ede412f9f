"""A draft from headers: pairs by shape, count and name, and says how sure it is of each."""

import json

import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from inference.recovery import _convert, _made
from inference.test_infer import PAGE
from inference.ways import (
    CONFIG,
    HIDDEN,
    WRITTEN,
    by_head,
    checkpoint,
    cut_and_turned,
    fused_experts,
    noise,
    one_layer,
    stacked,
    transposed,
    uneven,
)
from mapengine import api
from mapengine.cli import cli
from mapengine.errors import CheckpointError, NotFoundError
from mapengine.inference.init import draft


def drafted(tmp_path, source, target):
    checkpoint(tmp_path / "source", "params.json", CONFIG, source)
    checkpoint(tmp_path / "target", "config.json", WRITTEN, target)
    return draft(tmp_path / "source", tmp_path / "target")


PROPOSED = {
    transposed: "{transpose: [0, 1]}",
    uneven: "sizes: [head_dim * num_attention_heads,",
    stacked: "[{transpose: [0, 1]}, {stack: {over: expert, dim: 0}}]",
    cut_and_turned: "[{split: {into: expert, dim: 0}}, {transpose: [0, 1]}]",
    fused_experts: "[{concat: {dim: 0}}, {stack: {over: expert, dim: 0}}]",
}


@pytest.mark.parametrize("make", PROPOSED, ids=lambda make: make.__name__)
def test_ops_are_proposed_where_shapes_ask_for_them(make, tmp_path):
    found = drafted(tmp_path, *one_layer(make))
    assert found.unexplained == () and found.dropped == ()
    assert PROPOSED[make] in " ".join(found.text.split())
    (tmp_path / "draft.yaml").write_text(found.text)
    assert api.validate(tmp_path / "draft.yaml", tmp_path / "source") == []


def test_what_only_names_or_an_order_settle_is_no_certainty(tmp_path):
    found = drafted(tmp_path, *one_layer(by_head))
    assert all(found.doubts.values())
    assert "that the parts lie in this order along axis 0 is a guess" in found.text


def test_two_keys_that_could_as_well_be_the_other_way_round_are_a_tie(tmp_path):
    ours = {"alpha": noise(HIDDEN, 7), "beta": noise(HIDDEN, 7)}
    theirs = {"first": noise(HIDDEN, 7), "second": noise(HIDDEN, 7)}
    found = drafted(tmp_path, ours, theirs)
    assert found.ties == 2 and found.text.count("would do as well") == 2


def test_a_key_that_nothing_else_fits_is_sure_whatever_its_name(tmp_path):
    found = drafted(
        tmp_path, {"a": noise(HIDDEN, 7), "b": noise(9)}, {"x": noise(9), "y": noise(HIDDEN, 7)}
    )
    assert not any(found.doubts.values()) and found.ties == 0
    assert found.text.count("nothing else fits by shape and count") == 2


def test_what_is_left_over_is_told(tmp_path):
    found = drafted(
        tmp_path, {"a": noise(HIDDEN, 7), "b": noise(9)}, {"x": noise(8), "y": noise(HIDDEN, 7)}
    )
    assert found.unexplained == ("x",) and found.dropped == ("b",)
    assert "# Nothing found for: x" in found.text


@pytest.mark.parametrize("name", ["mixtral", "olmoe", "phi"])
def test_a_draft_of_a_mapping_that_ships_reads_the_same_tensors(name, tmp_path):
    binding = _convert(api.load(name), tmp_path / "source", tmp_path / "target")
    (tmp_path / "draft.yaml").write_text(draft(tmp_path / "source", tmp_path / "target").text)
    plan = api.plan(api.Job(tmp_path / "draft.yaml", tmp_path / "source"))
    assert dict(_origins(plan.binding)) == dict(_origins(binding))


def test_the_page_shows_lines_of_a_draft(tmp_path):
    _convert(api.load("mistral"), tmp_path / "source", tmp_path / "target")
    lines = draft(tmp_path / "source", tmp_path / "target").text.splitlines()
    shown = [line for line in PAGE.splitlines() if "# by name" in line or "# nothing else" in line]
    assert shown and set(shown) <= set(lines)


def _origins(binding):
    return ((key, of) for key, (of, _) in _made(binding))


def test_the_keys_can_be_those_of_a_model_class_or_of_a_config(tmp_path):
    mapping = api.load("mixtral")
    _convert(mapping, tmp_path / "source", tmp_path / "target")
    one = draft(tmp_path / "source", None, "MixtralForCausalLM")
    assert one.unexplained == () and one.dropped == ()
    (tmp_path / "target" / "model.safetensors").unlink()
    other = draft(tmp_path / "source", tmp_path / "target")
    assert other.unexplained == () and other.doubts == one.doubts


def test_a_draft_says_how_many_classes_the_head_has(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4,
             "intermediate_size": 12, "patch_size": 2}  # fmt: skip
    checkpoint(tmp_path / "source", "params.json", {}, {"head.weight": noise(5, 8)})
    (tmp_path / "target").mkdir()
    for labels, told in ((5, True), (2, False)):
        config = {**sizes, "num_labels": labels, "model_type": "vit",
                  "architectures": ["ViTForImageClassification"]}  # fmt: skip
        (tmp_path / "target" / "config.json").write_text(json.dumps(config))
        found = draft(tmp_path / "source", tmp_path / "target").text
        assert ("target: num_labels" in found) == told
        assert ("head.weight -> classifier.weight" in found) == told


def test_a_class_that_is_not_there_is_named(tmp_path):
    checkpoint(tmp_path / "source", "params.json", CONFIG, {"a": noise(3)})
    with pytest.raises(NotFoundError, match="no model class 'MixtralForCausalLN'"):
        draft(tmp_path / "source", None, "MixtralForCausalLN")
    (tmp_path / "target").mkdir()
    with pytest.raises(CheckpointError, match="no file with tensors"):
        draft(tmp_path / "source", tmp_path / "target")


def test_the_command_writes_a_draft_and_exits_with_what_is_left(tmp_path):
    drafted(tmp_path, {"a": noise(HIDDEN, 7)}, {"y": noise(HIDDEN, 7)})
    words = ["init", "-s", str(tmp_path / "source"), "-t", str(tmp_path / "target")]
    done = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "draft.yaml")])
    assert done.exit_code == 0 and api.load(tmp_path / "draft.yaml").name == "draft"
    assert CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "draft.yaml")]).exit_code == 2
    assert CliRunner().invoke(cli, words[:3]).exit_code == 2
    save_file({"a": noise(3)}, tmp_path / "source" / "model.safetensors")
    left = CliRunner().invoke(cli, [*words, "--json"])
    assert left.exit_code == 1 and json.loads(left.stdout)["dropped"] == ["a"]
