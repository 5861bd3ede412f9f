"""A field's `values`: what the source says, in the target's words, and back again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from language.test_cases import said
from mapengine import api
from mapengine.errors import MapengineError

MAPPING = """\
mapengine: 1
name: demo
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config:
  scaled: {source: unscaled, target: scaled, values: {true: false, false: true}}
  rope: {source: rope, target: type, values: {false: none, true: default, linear: linear, 2: two}}
  kinds: {source: kinds, target: layer_types, each: layer, values: {0: full, 1: sliding, -1: "1"}}
  layers: {source: layers, target: layers}
dims: {layer: layers}
tensors: ["{layer}.w": {shape: [1]}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mapping.yaml").write_text(MAPPING)


def convert(config, reverse=False):
    """What becomes of a config file, with a checkpoint of three layers beside it."""
    folder, made = (Path("converted"), Path("back")) if reverse else (Path("in"), Path("converted"))
    folder.mkdir(exist_ok=True)
    save_file({f"{i}.w": torch.zeros(1) for i in range(3)}, folder / "model.safetensors")
    name, written = ("config.json", "params.json") if reverse else ("params.json", "config.json")
    (folder / name).write_text(json.dumps(config))
    api.run(api.Job("mapping.yaml", folder, reverse=reverse), made, overwrite=True)
    return json.loads((made / written).read_text())


@pytest.mark.parametrize(
    "source, target",
    [
        ({"unscaled": True, "rope": True}, {"scaled": False, "type": "default"}),
        ({"unscaled": False, "rope": False}, {"scaled": True, "type": "none"}),
        ({"unscaled": True, "rope": "linear"}, {"scaled": False, "type": "linear"}),
        ({"unscaled": True, "rope": 2}, {"scaled": False, "type": "two"}),
    ],
)
def test_values_translate_truths_numbers_and_words_and_take_them_back(source, target):
    source |= {"kinds": [0, 1, -1], "layers": 3}
    target |= {"layer_types": ["full", "sliding", "1"], "layers": 3}
    assert convert(source) == target
    assert convert(target, reverse=True) == source


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("rope", 1, 'rope is 1, which is none of false, true, "linear", 2'),
        ("rope", "true", 'rope is "true", which is none of false, true, linear, 2'),
        ("kinds", [0, True, 1], "kinds is true, which is none of 0, 1, -1"),
        ("kinds", [0, 1, 7], "kinds is 7, which is none of 0, 1, -1"),
    ],
)
def test_a_value_that_is_not_in_the_table_is_refused(key, value, message):
    source = {"unscaled": True, "rope": True, "kinds": [0, 1, 0], "layers": 3, key: value}
    with pytest.raises(MapengineError) as caught:
        convert(source)
    (told,) = said(caught.value)
    assert told.partition("params.json: ")[2] == message


def test_a_key_is_a_value_in_a_table_of_values_alone():
    Path("mapping.yaml").write_text(MAPPING + "example: {true: 1}\n")
    (told,) = said(MapengineError(*api.validate("mapping.yaml")))
    assert "ME105 the key true is not a word" in told
