"""The hooks for pre-commit, the action for GitHub, and the page that tells of them."""

import re
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from mapengine.report.findings import FORMATS

ROOT = Path(__file__).parent.parent
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PAGE = (ROOT / "docs" / "ci.md").read_text()
SLIP = ROOT / "tests" / "cases" / "slips" / "axis_for_dim.yaml"
LIGHT = [one for one in HOOKS["mapengine-validate"]["additional_dependencies"] if one[0] != "-"]


def name(requirement):
    return re.split("[<>=]", requirement)[0].lower().replace("_", "-")


def test_the_action_installs_what_the_hook_does():
    (install,) = [step for step in ACTION["runs"]["steps"] if step["name"] == "Install"]
    words = shlex.split(install["run"].replace("\\\n", " "), posix=True)
    assert words[words.index("$GITHUB_ACTION_PATH") + 1 :] == LIGHT
    assert "--no-deps" in words
    assert HOOKS["mapengine-validate"]["additional_dependencies"][0] == "--no-deps"


def test_what_the_hook_installs_is_enough():
    """Validates with every package out of reach but those that the hook installs."""
    kept = {*map(name, LIGHT), "mapengine"}
    hidden = {
        package
        for package, owners in packages_distributions().items()
        if not kept & set(map(name, owners))
    } - sys.stdlib_module_names
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(hidden)!r}))\n"  # None: cannot be imported
        f"sys.argv = ['mapengine', 'validate', {str(ROOT / 'mappings')!r}, {str(SLIP)!r}]\n"
        "from mapengine.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert {"torch", "numpy", "rich"} <= hidden
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^1 problem in 1 of \d+ files$", done.stdout, re.MULTILINE)


@pytest.fixture
def runner(tmp_path):
    """What a step of a workflow finds: a folder with mapengine in it, a file for the summary."""
    script = tmp_path / "mapengine" / "bin" / "mapengine"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mapengine "$@"\n')
    script.chmod(0o755)
    return {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}


@pytest.mark.parametrize("args, code", [("", 1), ("--exit-zero", 0)])
def test_the_action_annotates_writes_sarif_and_fails(args, code, runner, tmp_path):
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == "Validate"]
    given = {"FILES": f"{SLIP} {ROOT / 'mappings' / 'mistral.yaml'}", "ARGS": args}
    assert step["env"].keys() == {*given, "SARIF"}
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **runner, **given}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env={**environment, "SARIF": str(tmp_path / "out.sarif")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("::error title=ME202,file=tests/cases/slips/axis_for_dim.yaml,")
    assert "ME202" in (tmp_path / "summary.md").read_text()
    assert '"ruleId": "ME202"' in (tmp_path / "out.sarif").read_text()


def test_inputs_reach_the_shell_as_variables_alone():
    """An input that is put into a script could be a command of its own."""
    assert [step["run"] for step in ACTION["runs"]["steps"] if "${{" in step["run"]] == []


def test_the_page_names_hooks_and_inputs_that_there_are():
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        told = yaml.safe_load(block)
        for repository in told.get("repos", ()) if isinstance(told, dict) else ():
            if "mapengine" in repository["repo"]:
                assert {hook["id"] for hook in repository["hooks"]} <= HOOKS.keys()
        for step in told["jobs"]["validate"]["steps"] if "jobs" in told else ():
            if "mapengine@" in step.get("uses", ""):
                assert step["with"].keys() <= ACTION["inputs"].keys()


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_tells_of_every_format(name):
    assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE)
