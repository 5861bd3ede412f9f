"""The reference pages: written by the code, and every example on them run by it."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import mapengine
from mapengine.cli import cli
from mapengine.explanation.words import words
from mapengine.ops import OPS, Exactness
from mapengine.report.reference import ops_page, words_page

ROOT = Path(__file__).parent.parent
PAGES = {"ops": ops_page, "words": words_page}
SHOWN = [
    pytest.param(op, one, id=f"{name}-{number}")
    for name, op in OPS.items()
    for number, one in enumerate(op.shown())
]
WHOLE = """\
mapengine: 1
name: shown
source: {{config: config.json, tensors: model.safetensors}}
target: {{config: config.json, tensors: model.safetensors}}
config: {names}
{text}"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_fresh(name):
    page = ROOT / "docs" / f"{name}.md"
    assert page.read_text() == PAGES[name]()
    asked = ["schema", "--markdown", name, "--check"]
    assert CliRunner().invoke(cli, [*asked, str(page)]).exit_code == 0
    stale = CliRunner().invoke(cli, [*asked, str(ROOT / "README.md")])
    assert (stale.exit_code, f"`mapengine schema --markdown {name}`" in stale.output) == (1, True)


def tensors(values, dtypes):
    return {
        key: torch.tensor(value, dtype=getattr(torch, dtypes.get(key, "float32")))
        for key, value in values.items()
    }


def assert_holds(folder, wanted):
    found = load_file(folder / "model.safetensors")
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert (key, found[key].dtype, found[key].shape) == (key, tensor.dtype, tensor.shape)
        raw = [one.reshape(-1).view(torch.uint8) for one in (found[key], tensor)]
        assert torch.equal(*raw), (key, found[key])


@pytest.mark.parametrize("op, one", SHOWN)
def test_an_example_on_the_page_of_ops_is_what_happens(op, one, tmp_path):
    names = json.dumps({name: name for name in one.sizes})
    mapping, source, there = (tmp_path / name for name in ("shown.yaml", "source", "there"))
    mapping.write_text(WHOLE.format(names=names, text=one.text()))
    source.mkdir()
    given = tensors(one.given, one.was)
    save_file(given, source / "model.safetensors")
    (source / "config.json").write_text(json.dumps(dict(one.sizes)))
    mapengine.run(mapengine.Job(mapping, source), there)
    assert_holds(there, tensors(one.made, one.becomes))
    if op.exactly.keys() == {Exactness.ONE_WAY}:
        with pytest.raises(mapengine.MapengineError, match="one-way"):
            mapengine.plan(mapengine.Job(mapping, there, reverse=True))
        return
    mapengine.run(mapengine.Job(mapping, there, reverse=True), tmp_path / "back")
    if Exactness.LOSSY not in op.exactly:
        assert_holds(tmp_path / "back", given)


@pytest.mark.parametrize("name, op", OPS.items())
def test_an_op_is_shown_at_work(name, op):
    section = ops_page().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert section.count("```yaml\n") == len(list(op.shown())) > 0
    assert all(one.op.partition(":")[0] == name for one in op.shown())


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_what_the_page_says_of_shapes_and_dtypes_holds_for_the_examples(op):
    for one in op.shown():
        before, after = tensors(one.given, one.was), tensors(one.made, one.becomes)
        if op.shapes == "stays as it is":
            assert {t.shape for t in before.values()} == {t.shape for t in after.values()}
        if op.dtypes == "stays as it is":
            assert {t.dtype for t in before.values()} == {t.dtype for t in after.values()}
    assert (op.dtypes != "stays as it is") == op.retypes


def test_the_page_of_words_has_every_word_but_the_ops():
    rows = [line.split("`")[1] for line in words_page().splitlines() if line.startswith("| `")]
    wanted = [
        name.partition(".")[2] or name
        for name in words()
        if name.split(".")[0] not in ("ops", "target") and name not in ("rules", "layouts")
        and name != "scope"
    ]  # fmt: skip
    assert sorted(rows) == sorted([*wanted, "target"])
