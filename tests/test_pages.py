"""Every command on a page of the documents runs, and shows what the page says it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
MARK = "\x01end"


def blocks(page, kind):
    text = page.read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def steps(block):
    """Each command of a block, and what it shows."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def shows(real, shown):
    """Whether `real` is what the page shows, in which `...` stands for anything."""
    parts = (re.escape(part) for part in re.split(r"\.\.\.(?!\d)\n?", shown))
    return re.fullmatch(r".*?".join(parts), real, re.DOTALL) is not None


def environment(folder):
    """One in which `mapengine` is the code of this tree."""
    inside = folder / "bin"
    inside.mkdir()
    for name, words in (("mapengine", "-m mapengine "), ("python", "")):
        path = inside / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        path.chmod(0o755)
    path = f"{inside}{os.pathsep}{os.environ['PATH']}"
    more = {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    return {**os.environ, **more}


WITH_COMMANDS = [page for page in PAGES if blocks(page, "console")]
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


def test_there_are_pages_with_commands():
    assert {page.name for page in WITH_COMMANDS} >= {"tutorial.md", "writing.md"}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_show_what_the_page_says(page, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    shell = subprocess.Popen(
        ["bash", "--norc"], cwd=work, env=environment(tmp_path), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    told = [step for block in blocks(page, "console") for step in steps(block)]
    asked = [*[command.startswith("echo $?") for command, _ in told][1:], False]
    with shell:
        for (command, shown), status_is_shown in zip(told, asked, strict=True):
            shell.stdin.write(f"{command}\n_s=$?; printf '{MARK} %d\\n' $_s; (exit $_s)\n")
            shell.stdin.flush()
            real = ""
            while MARK not in (line := shell.stdout.readline()):
                assert line, f"{command} ended the shell: {real}"
                real += line
            before, _, status = line.partition(MARK)
            assert shows(real + before, shown), f"$ {command}\n{real}{before}"
            assert status_is_shown or int(status) == 0, f"{command} exits with {status}: {real}"
        shell.stdin.close()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_on_a_page_runs(page, tmp_path):
    more = environment(tmp_path)
    subprocess.run(
        [sys.executable, "-m", "mapengine", "run", "mixtral", "-q"],
        cwd=tmp_path, env=more, check=True,
    )  # fmt: skip
    program = "\n".join(blocks(page, "python"))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=more, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_site_names_every_page():
    named = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/*.md")}
    assert pages <= named and all((ROOT / "docs" / name).is_file() for name in named)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target
