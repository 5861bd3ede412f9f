"""The catalogue of problem codes: complete, proven by its examples, and printed."""

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mapengine import api
from mapengine.cli import cli
from mapengine.codes import BASE, CODES, SERIES, in_base
from mapengine.report.codes import codes_page

ROOT = Path(__file__).parent.parent
YAML = [name for name, code in CODES.items() if code.is_yaml]


def emitted():
    """Every code that stands in the package as a string of its own, but in the catalogue."""
    for path in (ROOT / "mapengine").rglob("*.py"):
        if path.parent.name != "codes":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and re.fullmatch(r"ME\d{3}", str(node.value)):
                    yield node.value


def test_every_code_is_in_the_catalogue_and_nothing_else_is():
    found = set(emitted())
    assert sorted(found - CODES.keys()) == []  # to be added to mapengine/codes/
    assert sorted(CODES.keys() - found) == []


def test_every_code_belongs_to_a_series():
    assert {name[:3] for name in CODES} == SERIES.keys()


def test_the_base_of_the_examples_is_good(tmp_path):
    (tmp_path / "demo.yaml").write_text(BASE)
    assert api.validate(tmp_path / "demo.yaml") == []


@pytest.mark.parametrize("name", YAML)
def test_the_example_of_a_code_has_this_problem_and_no_other(name, tmp_path):
    mapping = tmp_path / "demo.yaml"
    mapping.write_text(in_base(CODES[name].example))
    problems = api.validate(mapping)
    if CODES[name].note:
        assert problems == []
        assert name in {note.code for note in api.prove(mapping).notes}
    else:
        assert {problem.code for problem in problems} == {name}


@pytest.mark.parametrize("name", [name for name in CODES if name not in YAML])
def test_an_example_that_is_no_mapping_is_what_is_printed(name):
    assert CODES[name].example.startswith(f"{name} ")


def test_the_page_of_codes_is_fresh():
    assert (ROOT / "docs" / "codes.md").read_text() == codes_page()


def test_rule_explains_a_code_in_either_case():
    for word in ("ME102", "me102"):
        shown = CliRunner().invoke(cli, ["rule", word]).output
        assert shown.startswith("ME102  something is here twice\n")
        assert "    dims: {layer: layers, layer: heads}\n" in shown


def test_rule_lists_and_is_json():
    assert len(CliRunner().invoke(cli, ["rule"]).output.splitlines()) == len(CODES)
    told = json.loads(CliRunner().invoke(cli, ["rule", "ME330", "--json"]).output)
    assert [(code["code"], code["note"]) for code in told["codes"]] == [("ME330", True)]


def test_rule_does_not_know_every_code():
    shown = CliRunner().invoke(cli, ["rule", "ME3O1"])
    assert (shown.exit_code, "there is no code 'ME3O1'" in shown.output) == (2, True)
