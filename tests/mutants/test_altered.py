"""What a mapping says of a config is tried on configs that are wrong, and say less or more."""

import json

import pytest
from safetensors.torch import load_file

from mapengine import api
from mapengine.language.document import read_document
from mapengine.language.reading import read_mapping
from mutants.altered import altered

RIGHT = """\
mapengine: 1
name: m
source: {config: params.json, tensors: model.safetensors, ignore: {config: [old], tensors: [gone.]}}
target: {config: config.json, tensors: model.safetensors}
config:
  rows: n
  kind: {source: q.kind, value: fp8}
  base: {source: base, target: base, default: 10}
  carry: [q]
tensors: [w: {shape: [rows]}]
example: {rows: 3}
"""
IGNORED = {"config": ["old"], "tensors": ["gone."]}


def read(text):
    return read_mapping(read_document(text, "m.yaml"))


@pytest.fixture
def checkpoints(tmp_path):
    mapping = read(RIGHT)
    values = api.make_example(mapping, frozenset(), tmp_path / "source").values
    path = tmp_path / "source" / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": 5}))
    job = api.Job(mapping, tmp_path / "source", values=values)
    return list(altered(job, IGNORED, tmp_path / "altered"))


def test_each_word_is_another_and_gone_and_what_is_ignored_is_there(checkpoints):
    *checkpoints, more = checkpoints
    given = [json.loads((one.job.source / "params.json").read_text()) for one in checkpoints]
    fp8 = {"kind": "fp8"}
    assert given == [
        {"n": 4, "q": fp8, "base": 5},
        {"q": fp8, "base": 5},
        {"n": 3, "q": {"kind": "fp8x"}, "base": 5},
        {"n": 3, "q": {}, "base": 5},
        {"n": 3, "q": fp8, "base": 6},
        {"n": 3, "q": fp8},
        {"n": 3, "q": fp8, "base": 5, "old": "x"},
    ]
    assert load_file(more.job.source / "model.safetensors").keys() == {"w", "gone.x"}
    assert more.planned == checkpoints[-1].planned
    planned = [one.planned and one.planned[0]["config.json"] for one in checkpoints]
    q = {"q": fp8, "n": 3}
    assert planned == [
        None,
        None,
        None,
        {"q": {}, "n": 3, "base": 5},
        q | {"base": 6},
        q | {"base": 10},
        q | {"base": 5},
    ]


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("source: q.kind", "source: q.kindx"),
        ("default: 10", "default: 11"),
        ("[old]", "[]"),
        ("[gone.]", "[]"),
    ],
)
def test_a_mistake_that_a_right_config_does_not_show_is_seen(checkpoints, right, wrong):
    assert not any(one.catches(read(RIGHT)) for one in checkpoints)
    assert any(one.catches(read(RIGHT.replace(right, wrong))) for one in checkpoints)


TWICE = """\
mapengine: 1
name: m
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config:
  rows: n
  act: {source: act, value: silu}
  eps: {source: [eps, norm.eps], target: eps, default: 7}
tensors:
  - w: {shape: [rows]}
  - b: {shape: [rows], optional: true}
example: {rows: 3, eps: 7}
"""


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("source: act, value", "source: acts, value"),
        ("source: act, value: silu", "source: act, value: gelu"),
        ("default: 7", "default: 8"),
        (", optional: true", ""),
    ],
)
def test_what_is_said_elsewhere_nowhere_or_may_be_absent_is_tried(tmp_path, right, wrong):
    """`act` is in no config of the example, `eps` in two places, and `b` in every one."""
    mapping = read(TWICE)
    values = api.make_example(mapping, frozenset(), tmp_path / "source").values
    path = tmp_path / "source" / "params.json"
    config = json.loads(path.read_text())
    del config["act"]
    path.write_text(json.dumps(config))
    job = api.Job(mapping, tmp_path / "source", values=values)
    checkpoints = list(altered(job, {}, tmp_path / "altered"))
    assert not any(one.catches(mapping) for one in checkpoints)
    assert any(one.catches(read(TWICE.replace(right, wrong))) for one in checkpoints)
