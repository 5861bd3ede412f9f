"""`validate --watch`: what is saved is checked again, and what that changes in the plan is told."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mapengine.commands.watching import watch

SLIP = Path(__file__).parent / "cases" / "slips" / "shape_without_a_list.yaml"
BAD = SLIP.read_text()
GOOD = BAD.replace("shape: hidden", "shape: [hidden]")


def save(file, text):
    """As editors do it: beside the file, then in its place."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def looked_at(find, *edits):
    """The files that are told of before and after each edit, by name."""
    told, edits = [[]], list(edits)

    def wait():
        if edits:
            edits.pop(0)()
            told.append([])
            return True
        return False

    watch(find, lambda changed: told[-1].extend(file.name for file in changed), wait)
    return told


def test_all_files_are_told_of_once_and_then_those_that_are_saved(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    save(one, GOOD)
    save(two, GOOD)

    def find():
        return sorted(tmp_path.glob("*.yaml"))

    told = looked_at(find, lambda: None, lambda: save(two, BAD), lambda: save(two, BAD))
    assert told == [["one.yaml", "two.yaml"], [], ["two.yaml"], ["two.yaml"]]


def test_a_new_file_of_a_folder_is_seen(tmp_path):
    save(tmp_path / "one.yaml", GOOD)
    told = looked_at(
        lambda: sorted(tmp_path.glob("*.yaml")), lambda: save(tmp_path / "two.yaml", GOOD)
    )
    assert told == [["one.yaml"], ["two.yaml"]]


def test_a_file_that_is_away_while_it_is_replaced_is_waited_for(tmp_path):
    one = tmp_path / "one.yaml"
    save(one, GOOD)
    told = looked_at(lambda: [one], one.unlink, lambda: None, lambda: save(one, GOOD))
    assert told == [["one.yaml"], [], [], ["one.yaml"]]


def test_a_file_that_was_never_there_is_told_of_once(tmp_path):
    assert looked_at(lambda: [tmp_path / "no.yaml"], lambda: None) == [["no.yaml"], []]


@pytest.fixture
def watching(tmp_path):
    """The command at work on demo.yaml, and its lines up to one that begins with a word."""
    file = tmp_path / "demo.yaml"
    save(file, GOOD)
    process = subprocess.Popen(
        [sys.executable, "-m", "mapengine", "validate", "--watch", "demo.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )

    end = threading.Timer(120, process.kill)  # a line that never comes is a failure, not a wait
    end.start()

    def until(word):
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(word):
                return lines
        raise AssertionError(f"ended without {word!r}: {lines}")

    yield file, process, until
    end.cancel()
    process.kill()
    process.communicate()


def test_the_command_tells_findings_and_what_the_plan_becomes(watching):
    file, process, until = watching
    end = "-- watching; Ctrl-C ends it"
    assert until(end) == ["-- demo.yaml", "1 mapping good", end]
    save(file, BAD)
    assert "demo.yaml:11:37: ME204" in until(end)[1]
    save(file, GOOD.replace("[hidden]", "[heads, hidden]"))
    assert until(end)[1:-1] == [
        "1 mapping good",
        "the plan of the example:",
        "- a.{layer} -> b.{layer}  ×2  [6] bfloat16",
        "+ a.{layer} -> b.{layer}  ×2  [2, 6] bfloat16",
    ]
    save(file, f"# a comment\n{file.read_text()}")
    assert until(end)[-2] == "the plan of the example is as before"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
