"""A config whose name ends in .yml or .yaml is written as YAML that every version reads alike."""

import math

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mapengine import api
from mapengine.checkpoints.config_text import config_text
from mapengine.errors import MapengineError
from mapengine.language.document import read_document

TRICKY = {
    "small": 1e-05, "large": 1e22, "whole": 2.0, "endless": math.inf, "count": 3, "none": None,
    "on": True, "rotary-pct": 0.25, "empty": {}, "nested": {"betas": [0.9, 0.95], "": []},
    "words": ["no", "on", "1e-05", "0x10", "1_000", "1:30", "~", "null", "2020-01-01", " a: b "],
    "text": "x " * 200 + 'é\n"quoted" \\ #',
}  # fmt: skip

MAPPING = """
mapengine: 1
name: words
source: {config: SOURCE, tensors: model.safetensors}
target: {config: TARGET, tensors: model.safetensors}
config: {eps: {source: norm-eps, target: eps}, name: name}
tensors: [w: {shape: [2]}]
example: {eps: 1.0e-05, name: "no"}
"""


@pytest.mark.parametrize("read", [yaml.safe_load, lambda t: read_document(t, "c.yml").data])
def test_both_versions_of_yaml_read_what_was_written(read):
    assert read(config_text("c.yml", TRICKY)) == TRICKY


def test_an_object_that_is_there_twice_is_written_twice():
    shared = [1, 2]
    assert "&" not in config_text("c.yaml", {"a": shared, "b": shared})


def mapping(folder, source, target):
    path = folder / "mapping.yaml"
    path.write_text(MAPPING.replace("SOURCE", source).replace("TARGET", target))
    return path


@pytest.mark.parametrize("source, target", [("a.yml", "b.json"), ("a.json", "b.yaml")])
def test_a_config_goes_from_one_form_to_the_other_and_back(source, target, tmp_path):
    path = mapping(tmp_path, source, target)
    api.prove(path)
    (tmp_path / "in").mkdir()
    save_file({"w": torch.zeros(2)}, tmp_path / "in" / "model.safetensors")
    text = config_text(source, {"norm-eps": 1e-05, "name": "no"})
    (tmp_path / "in" / source).write_text(text)
    api.run(api.Job(path, tmp_path / "in"), tmp_path / "there", sync=False)
    there = (tmp_path / "there" / target).read_text()
    assert yaml.safe_load(there)["name"] == "no"
    assert there == config_text(target, {"eps": 1e-05, "name": "no"})
    api.run(api.Job(path, tmp_path / "there", reverse=True), tmp_path / "back", sync=False)
    assert read_document((tmp_path / "back" / source).read_text(), source).data == {
        "norm-eps": 1e-05,
        "name": "no",
    }


def test_a_config_of_another_form_cannot_be_written(tmp_path):
    with pytest.raises(MapengineError) as refused:
        api.prove(mapping(tmp_path, "a.json", "b.toml"))
    assert "'b.toml' is no JSON, YAML or torch file: only those are written" in str(refused.value)
