"""What the documents show is what is."""

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import mapengine
from mapengine.cli import COMMANDS, cli
from mapengine.ops import OPS
from mapengine.report.environment import environment

ROOT = Path(__file__).parent.parent
CONFIGS = ("config", "generation_config")
LANGUAGE = (ROOT / "docs" / "language.md").read_text()
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text()
README = (ROOT / "README.md").read_text()


def blocks(text, kind):
    """The fenced blocks of a kind, `""` for those without one."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for found, block in fenced if found == kind]


def test_the_mapping_in_the_language_page_is_good(tmp_path):
    (text,) = blocks(LANGUAGE, "yaml")
    (tmp_path / "tiny_moe.yaml").write_text(text)
    assert mapengine.validate(tmp_path / "tiny_moe.yaml") == []


@pytest.mark.parametrize("name", OPS)
def test_the_language_page_tells_of_every_op(name):
    assert f"`{name}" in LANGUAGE


def test_the_rules_in_the_readme_are_those_of_the_mapping():
    (shown,) = blocks(README, "yaml")
    mapping = (ROOT / "mappings" / "mixtral.yaml").read_text()
    lines = [line.split("  #")[0].rstrip() for line in shown.splitlines()]
    for line in lines:
        assert line in mapping, line


def test_the_plan_in_the_readme_is_what_the_command_prints(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})  # memory is that of two cores
    (shown,) = [block for block in blocks(README, "") if block.startswith("$ mapengine plan")]
    command, _, output = shown.partition("\n")
    assert CliRunner().invoke(cli, command.split()[2:]).output == output


def test_the_explanation_on_the_page_of_commands_is_what_the_command_prints():
    (shown,) = [block for block in blocks(COMMANDS_PAGE, "") if "$ mapengine explain" in block]
    command, _, output = shown.partition("\n")
    assert CliRunner().invoke(cli, command.split()[2:]).output == output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_commands_tells_of_each(command):
    assert re.search(rf"^\| `{command}\b", COMMANDS_PAGE, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_itself(command):
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0 and shown.output.startswith("Usage:")


def options():
    """Every option of every command, with the command."""
    for name in COMMANDS:
        for one in cli.get_command(click.Context(cli), name).params:
            if isinstance(one, click.Option):
                yield name, one


def test_every_option_says_what_it_is_for_and_every_command_shows_one_use():
    assert [(name, one.opts) for name, one in options() if not one.help] == []
    shown = {name: cli.get_command(click.Context(cli), name).epilog for name in COMMANDS}
    assert [name for name, text in shown.items() if f"mapengine {name}" not in (text or "")] == []


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=str)
def test_the_commands_on_a_page_have_the_options_they_are_given_there(page):
    known = {name: {"--help"} for name in COMMANDS}
    for name, one in options():
        known[name] |= {*one.opts, *one.secondary_opts}
    lines = re.findall(r"mapengine ((?:[a-z]+) [^`\n|]*)", page.read_text())
    for line in lines:
        name, *words = line.split()
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        if name in known and "python" not in line:
            assert given - known[name] == set(), line


def test_the_environment_names_every_package_that_is_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["verify"], *extras["s3"], *extras["gs"]]
    names = {re.match(r"[A-Za-z0-9_-]+", one)[0].lower() for one in wanted}
    assert names <= {name.lower() for name in environment()["packages"]}


def test_shipped_mappings_point_editors_at_the_schema():
    for path in mapengine.shipped_mappings().values():
        first = path.read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=../mapengine/mapping.schema.json"
        assert yaml.safe_load(path.read_text())["name"] == path.stem


@pytest.mark.parametrize("page", [*sorted(ROOT.rglob("docs/**/*.md")), ROOT / "README.md"], ids=str)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def recorded(name):
    """How many cases, tensors and config fields the record of a mapping has."""
    record = json.loads((ROOT / "tests" / "library" / "digests" / f"{name}.json").read_text())
    cases = record["cases"].values()
    fields = (len(case.get(kind) or ()) for case in cases for kind in CONFIGS)
    return len(cases), sum(len(case["tensors"]) for case in cases), sum(fields)


def test_the_readme_counts_what_the_records_hold():
    table = README.partition("## Mappings")[2].partition("## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    shown = {tuple(re.findall(r"`(\w+)`", names)): against for names, _, against in rows}
    del shown[("mixtral",)]  # has a record of its own
    listed = {name for names in shown for name in names}
    assert listed == {path.stem for path in (ROOT / "tests/library/digests").glob("*.json")}
    for names, against in shown.items():
        numbers = [int(number) for number in re.findall(r"\d+", against.partition(": ")[2])][:3]
        counts = [recorded(name) for name in names]
        assert numbers == [sum(column) for column in zip(*counts, strict=True)], names
