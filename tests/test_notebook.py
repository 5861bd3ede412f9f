"""What a notebook shows: everything that is told, and nothing that a name can smuggle in."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
import yaml
from safetensors.torch import save_file

import mapengine
from mapengine import api
from mapengine.errors import Problem, Problems, Where
from mapengine.report.plans import plan_cells
from mapengine.verification.check import Check, Checks

EVIL = "<script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\"'\u202e\x1b[31m"
TAGS = {"div", "table", "tr", "td", "th", "b", "i", "br", "code", "pre"}


class Page(HTMLParser):
    """The tags and the text of some HTML. Raises where tags do not close one another."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.seen = [], "", set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert all(name == "style" for name, _ in attributes)
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def shown(value):
    page = Page(value._repr_html_())
    assert page.seen <= TAGS
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", page.text)
    return page.text


def mapping(tmp_path, title, source, target):
    path = tmp_path / "evil.yaml"
    body = {
        "mapengine": 1, "name": "evil", "title": title,
        "source": {"tensors": "model.safetensors"}, "target": {"tensors": "model.safetensors"},
        "tensors": [f"{source} -> {target}"],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(body, allow_unicode=True))
    return path


def plan_of(tmp_path, title="A plan", source="a.weight", target="b.weight"):
    save_file({source: torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    return api.plan(api.Job(mapping(tmp_path, title, source, target), tmp_path))


def test_a_plan_shows_its_rules_and_totals(tmp_path):
    text = shown(plan_of(tmp_path))
    for told in ("evil: A plan", "LINE", "a.weight", "b.weight", "[2, 3]", "float32", "24 B",
                 "1 tensors · 24 B read · 24 B written · 1 safetensors file",
                 "every source tensor is used"):  # fmt: skip
        assert told in text


def test_a_plan_shows_every_row_that_the_command_shows():
    mixtral = mapengine.load("mixtral")
    plan = api.check_example(mixtral, next(iter(mixtral.layouts())))
    text = shown(plan)
    scopes, cells = plan_cells(plan)
    assert len(cells) > 10
    assert all(cell in text for row in cells for cell in row)
    assert all(side in text for scope in scopes for side in scope)


def test_names_of_a_plan_are_text(tmp_path):
    key = "<script>alert(1)</script>&amp;"
    title = "".join(filter(str.isprintable, EVIL))  # others a mapping may not hold
    text = shown(plan_of(tmp_path, title, key, f"{key}2"))
    assert f"{key}2" in text and "<img src=x onerror='alert(2)'>" in text


def test_problems_show_code_place_line_and_way_out(tmp_path):
    path = tmp_path / "<b>.yaml"
    path.write_text("mapengine: 1\nname: '<i>x</i>'\n")
    problems = mapengine.validate(path)
    text = shown(problems)
    for problem in problems:
        for told in (problem.code, problem.message, str(problem.where), problem.help):
            assert told in text
    assert "2 | name: '<i>x</i>'" in text
    assert shown(Problems()) == "no problems"
    assert isinstance(problems, list) and Problems() == []


def test_a_problem_by_itself_and_a_caught_error_show_the_same():
    problem = Problem("ME301", EVIL, Where(f"{EVIL}.yaml", 3, 1), EVIL, EVIL)
    assert "<script>alert(1)</script>" in shown(problem)
    text = shown(mapengine.PlanError(problem, problem))
    assert text.startswith("PlanError: 2 problems") and text.count("ME301") == 2


def test_an_error_nothing_catches_prints_its_problems_and_no_calls_of_ours():
    with pytest.raises(mapengine.MappingError) as raised:
        mapengine.load("mixtrall")
    heading, told = raised.value._render_traceback_()
    assert heading == "NotFoundError: 1 problem"
    assert told.splitlines() == [
        "ME107 there is no mapping 'mixtrall'",
        "  = help: did you mean 'mixtral'?",
    ]


def test_checks_show_what_they_found():
    checks = Checks(
        [
            Check("all is there", detail="3 tensors"),
            Check("it loads", skipped="no class <x>"),
            Check("it fits", (Problem("ME701", EVIL, help="do <that>"),)),
        ]
    )
    text = shown(checks)
    for told in ("✓all is there3 tensors", "-it loadsno class <x>", "✗it fitsME701 <script>"):
        assert told in text.replace("\n", "")
    assert "do <that>" in text
    assert shown(checks[0]) == "CHECKFOUND✓all is there3 tensors"


def test_verify_gives_checks_that_show_themselves(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "files agree" in shown(mapengine.verify(tmp_path, load=False))


def test_a_long_table_is_cut():
    problems = Problems([Problem("ME301", str(number)) for number in range(5_000)])
    text = problems._repr_html_()
    assert "and 4800 more rows" in text and len(text) < 100_000


def test_nothing_is_loaded_before_a_notebook_asks():
    code = (
        "import sys, mapengine; p = mapengine.validate('mixtral'); "
        "print('mapengine.report.notebook' in sys.modules, 'torch' in sys.modules); "
        "p._repr_html_(); print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False", "False"]
