"""The page as text: what it shows, and that no name in it is ever markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
import torch
from click.testing import CliRunner

from mapengine.cli import cli
from report import hostile
from report.pages import example_page, example_survey, page_of, shipped

VOID = {"meta", "input", "br", "rect", "path"}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside = [], [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.inside.append(tag)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        tag = self.inside[-1] if self.inside else ""
        self.text[tag] = self.text.get(tag, "") + data

    @property
    def data(self):
        found = list(re.findall(r"\{\"format_version.*\}", self.text["script"]))
        return json.loads(found[0])


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    mapping, source = hostile.write(tmp_path_factory.mktemp("hostile"))
    return page_of(mapping, source)


def test_hostile_names_are_text_and_never_markup(attacked):
    page, plain = Page(attacked), Page(example_page("mixtral"))
    assert set(page.tags) <= set(plain.tags) and "img" not in page.tags
    assert page.tags.count("script") == 2
    shown = "".join(text for tag, text in page.text.items() if tag != "script")
    assert shown.count(hostile.ATTACK) > 4 and shown.count(hostile.IMAGE) > 4
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_hostile_names_are_whole_in_the_data(attacked):
    (rule,) = Page(attacked).data["passages"][0]["rules"]
    assert rule["taken"]["keys"] == [[f"{hostile.ATTACK}.", [[0]]]]
    assert rule["made"]["keys"] == [[f"{hostile.IMAGE}.", [[0]]]]
    assert rule["loops"] == [["i", 2]]


def test_signs_that_cannot_be_seen_are_spelled_out(tmp_path):
    mapping, source = hostile.write(tmp_path, {hostile.HIDDEN: torch.zeros(1)})
    text = page_of(mapping, source)
    assert "left\\u202eover" in text and "\\x1b[31m" in text
    assert "\u202e" not in text and "\x1b" not in text


def test_the_page_allows_its_own_script_and_style_and_nothing_else(attacked):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', attacked)
    allowed = dict(part.split(" ", 1) for part in policy.replace("&#39;", "'").split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", attacked, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[rule] == f"'sha256-{digest}'"


def test_the_page_names_no_other_place(attacked):
    page = Page(attacked)
    for name, value in page.attributes:
        if name in ("src", "href", "action", "srcset", "data"):
            assert value.startswith("#"), (name, value)
        assert name != "style"  # which the policy would not allow
    assert "@import" not in attacked and "url(" not in attacked


@pytest.mark.parametrize("name", shipped())
def test_every_mapping_has_a_page_both_ways(name):
    for reverse in (False, True):
        surveys = example_survey(name, reverse=reverse)
        text = example_page(name, reverse=reverse)
        assert text.count('<article class="rule') == sum(len(one.by_rule) for one in surveys)
        assert text == example_page(name, reverse=reverse)  # nothing in it depends on the time


def test_the_config_stands_side_by_side_with_where_each_value_is_from():
    text = example_page("mixtral")
    rows = re.findall(r'<tr class="(\w+)"><td><b>(\w+)</b>.*?</tr>', text)
    kinds = {name: kind for kind, name in rows}
    assert kinds["hidden"] == "file" and kinds["act"] == "constant"
    assert kinds["window"] == "default" and kinds["dtype"] == "computed"
    (row,) = re.findall(r'<tr class="file"><td><b>top_k</b>.*?</tr>', text)
    assert re.findall(r'"file">([^<]*)</span> <code>([^<]*)</code>', row) == [
        ("params.json", "moe.num_experts_per_tok"),
        ("config.json", "num_experts_per_tok"),
    ]


def command(*words):
    return CliRunner().invoke(cli, [*map(str, words)])


def test_what_is_carried_and_left_behind_is_told(attacked):
    carried = re.findall(r'<tr class="carried">.*?</tr>', attacked)
    assert len(carried) == 1 and "without a name" in carried[0]


def test_a_checkpoint_that_does_not_fit_has_a_page_that_says_why(tmp_path):
    mapping, source = hostile.write(tmp_path, {"stray": torch.zeros(1)})
    (source / "config.json").write_text(json.dumps({hostile.ATTACK: 3, "word": "x"}))
    done = command("report", mapping, "-s", source, "-o", tmp_path / "page.html")
    assert done.exit_code == 1 and "1 rule, 2 problems" in done.stderr
    text = (tmp_path / "page.html").read_text()
    assert "there is no plan: 2 problems stand in the way" in text
    parts = re.findall(r'<i class="dot (\w+)"></i><b>(\d+)</b> ([^<]*)</summary>', text)
    assert ("used", "2", "taken by a rule") in parts
    assert ("left", "1", "taken by no rule") in parts
    assert ("missing", "1", "wanted, and not there") in parts
    assert '<article class="rule bad"' in text


def test_one_mapping_after_another_is_drawn_after_it(tmp_path):
    done = command("run", "mixtral", "-o", tmp_path / "made", "-q")
    assert done.exit_code == 0, done.output
    page = tmp_path / "page.html"
    source = tmp_path / "made-source"
    done = command(
        "report", "mixtral", "-s", source, "--then", "mixtral", "--then-reverse", "-o", page
    )
    assert done.exit_code == 0, done.output
    data = Page(page.read_text()).data["passages"]
    assert [len(one["rules"]) for one in data] == [12, 12]
    assert [rule["id"] for one in data for rule in one["rules"]] == [*range(24)]


def test_notes_of_files_and_of_the_proof_are_on_the_page():
    text = example_page("mixtral")
    assert text.count('<li class="finding note">') >= 4 and "ME332" in text


def test_what_a_page_weighs_grows_with_rules_and_not_with_tensors(tmp_path):
    weights = []
    for count in (10, 1000):
        path = tmp_path / f"many{count}.yaml"
        path.write_text(MANY.replace("COUNT", str(count)))
        weights.append(len(example_page(path)))
    assert weights[1] < weights[0] + 200


MANY = """\
mapengine: 1
name: many
source: {tensors: a.safetensors, config: c.json}
target: {tensors: b.safetensors, config: c.json}
config: {n: n}
dims: {i: n, j: 10}
tensors: ["a.{i}.{j} -> b.{i + 1}.{j}": {shape: [4]}]
example: {n: COUNT}
"""
