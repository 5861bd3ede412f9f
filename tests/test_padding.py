"""Zeros at the end of an axis: proven, planned, converted and taken back."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.cli import cli
from mapengine.errors import MapengineError
from mapengine.ops.pad import Unpad
from mapengine.planning.budget import SMALLEST
from mapengine.planning.pieces import is_plain_copy

HEAD = """\
mapengine: 1
name: mapping
source: {config: params.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config: {rows: rows, vocab: vocab}
"""
RULES = """\
tensors:
  - table: {shape: [rows, 3], ops: [{unpad: {from: rows, to: vocab}}]}
  - turned: {shape: [2, rows], ops: [{unpad: {from: rows, to: vocab, dim: 1}}, {transpose: [0, 1]}]}
  - cut: {shape: [rows], ops: [{unpad: {from: rows, to: vocab, unchecked: true}}]}
  - grown: {shape: [vocab], ops: [{pad: {from: vocab, to: rows}}]}
  - whole: {shape: [rows], ops: [{unpad: {from: rows, to: rows, unchecked: true}}]}
example: {rows: 8, vocab: 5}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(rules=RULES, name="mapping.yaml"):
    Path(name).write_text(HEAD + rules)
    return name


def source(name="in", rows=8, vocab=5, **tensors):
    Path(name).mkdir()
    save_file(tensors, f"{name}/model.safetensors")
    for config in ("params.json", "config.json"):
        Path(f"{name}/{config}").write_text(json.dumps({"rows": rows, "vocab": vocab}))


def test_what_must_be_zero_is_used_and_what_may_be_anything_is_lost():
    claims = api.prove(write()).claims
    assert [(str(claim.rule), claim.exactness.value) for claim in claims] == [
        ("table", "exact"), ("turned", "exact"), ("cut", "lossy"), ("grown", "exact"),
        ("whole", "exact"),
    ]  # fmt: skip


def test_what_is_cut_off_tensors_that_are_the_same_is_used_in_each_of_them():
    ops = "[same, {unpad: {from: rows, to: vocab}}]"
    rule = f"a, b -> a: {{shape: [rows, 3], ops: {ops}}}"
    (claim,) = api.prove(write(f"tensors:\n  - {rule}\nexample: {{rows: 8, vocab: 5}}\n")).claims
    assert (claim.exactness.value, claim.elements) == ("exact", 15)


def test_an_unpad_that_keeps_the_wrong_positions_is_found_out(monkeypatch):
    monkeypatch.setattr(Unpad, "apply", lambda self, tensors: [tensors[0].narrow(0, 3, 5)])
    rule = RULES.splitlines()[1]
    with pytest.raises(MapengineError) as refused:
        api.prove(write(f"tensors:\n{rule}\nexample: {{rows: 8, vocab: 5}}\n"))
    assert "9 of the 24 elements of table come to no target" in str(refused.value)


def test_an_unpad_that_does_not_say_what_it_cuts_is_found_out(monkeypatch):
    monkeypatch.setattr(Unpad, "cut", lambda self, tensor: None)
    with pytest.raises(MapengineError) as refused:
        api.prove(write())
    assert "9 of the 24 elements of table come to no target" in str(refused.value)


def test_the_example_holds_zeros_where_they_are_cut_and_comes_back():
    api.make_example(api.load(write()), frozenset(), "in")
    was = load_file("in/model.safetensors")
    assert not was["table"][5:].any() and not was["turned"][:, 5:].any()
    assert was["table"][:5].all() and was["turned"][:, :5].all() and was["cut"].all()
    api.run(api.Job("mapping.yaml", "in"), "out", sync=False)
    api.run(api.Job("mapping.yaml", "out", reverse=True), "back", sync=False)
    back = load_file("back/model.safetensors")
    was["cut"][5:] = 0
    assert back.keys() == was.keys()
    assert all(torch.equal(back[key], was[key]) for key in was)


def test_a_plan_tells_what_is_checked_and_what_is_not():
    write()
    told = CliRunner().invoke(cli, ["plan", "mapping.yaml"]).output
    assert "checked, and not written: table\nchecked, and not written: turned\n" in told
    assert "cut off, whatever it is: cut\n" in told
    told = json.loads(CliRunner().invoke(cli, ["plan", "mapping.yaml", "--json"]).output)
    assert (told["checked"], told["cut"]) == (["table", "turned"], ["cut"])
    assert told["totals"]["bytes_read"] == 2 * (24 + 16 + 5 + 5 + 8)  # what is cut is not read


def test_what_is_put_on_and_taken_off_again_is_a_copy():
    write("tensors:\n  - w: {ops: [{pad: {from: vocab, to: rows}}]}\n")
    source(w=torch.rand(5, 2))
    job = api.Job("mapping.yaml", "in", then="mapping.yaml", then_reverse=True)
    (tensor,) = api.plan(job).tensors
    assert is_plain_copy(tensor.content)
    api.run(job, "out", sync=False)
    made, was = (load_file(f"{name}/model.safetensors")["w"] for name in ("out", "in"))
    assert torch.equal(made, was)


def test_zeros_are_checked_after_the_ops_before():
    write("tensors:\n  - w: {ops: [{add: -1}, {unpad: {from: rows, to: vocab}}]}\n")
    source(w=torch.cat([torch.arange(5.0), torch.ones(3)]))
    api.run(api.Job("mapping.yaml", "in"), "out", sync=False)
    assert load_file("out/model.safetensors")["w"].tolist() == [-1, 0, 1, 2, 3]
    source("other", w=torch.zeros(8))
    with pytest.raises(MapengineError) as refused:
        api.run(api.Job("mapping.yaml", "other"), "again")
    assert "w: 3 of 3 elements that are cut are not zero" in str(refused.value)
    assert not Path("again").exists()


def test_padding_larger_than_the_memory_is_written_checked_and_taken_off():
    write("tensors:\n  - w: {ops: [{pad: {from: vocab, to: rows, dim: 1}}]}\n")
    memory = SMALLEST + 2**20
    source(rows=40_000, vocab=10, w=torch.ones(1000, 10, dtype=torch.int8))
    api.run(api.Job("mapping.yaml", "in"), "out", sync=False, memory=memory, workers=1)
    made = load_file("out/model.safetensors")["w"]
    assert made.shape == (1000, 40_000) and int(made.sum()) == int(made[:, :10].sum()) == 10_000
    back = api.Job("mapping.yaml", "out", reverse=True)
    assert api.plan(back).peak_memory(1, memory) <= memory
    api.run(back, "back", sync=False, memory=memory, workers=1)
    assert load_file("back/model.safetensors")["w"].shape == (1000, 10)
    made[999, 39_999] = 1
    save_file({"w": made}, "out/model.safetensors")
    with pytest.raises(MapengineError) as refused:
        api.run(back, "again", sync=False, memory=memory, workers=1)
    assert "w: 1 of 39,990,000 elements that are cut are not zero" in str(refused.value)
