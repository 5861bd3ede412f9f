"""What the documents show is what is."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import mapengine
from mapengine.cli import COMMANDS, cli
from mapengine.ops import OPS

ROOT = Path(__file__).parent.parent
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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_commands_tells_of_each(command):
    assert re.search(rf"^\| `{command}\b", COMMANDS_PAGE, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_itself(command):
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0 and shown.output.startswith("Usage:")


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
