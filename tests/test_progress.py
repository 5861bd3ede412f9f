"""How far a run is, as a terminal and as a log see it."""

import os
import pty
import re
import subprocess
import sys

import pytest

RUN = ["run", "mixtral", "--max-shard-size", "100KB", "--workers", "1"]


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "TERM")}
    return {**kept, **more}


def piped(folder, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", "mapengine", *RUN, *words],
        cwd=folder, capture_output=True, text=True, env=environment(**more), check=True,
    ).stderr  # fmt: skip


def on_a_terminal(folder, **more):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mapengine", *RUN],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=theirs, env=environment(**more),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # what Linux says of a terminal that nobody has open any more
            break
        if not some:
            break
        shown += some
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_a_log_has_a_line_for_each_shard_and_no_carriage_return(tmp_path):
    lines = [line for line in piped(tmp_path).splitlines() if "is whole" in line]
    assert len(lines) > 3 and len(lines) == len(set(lines))
    assert f"({len(lines)} of {len(lines)}) is whole" in lines[-1]
    assert "\r" not in "".join(lines) and "\x1b" not in "".join(lines)
    assert "571 kB of 571 kB · " in lines[-1] and " · 0 s left · " in lines[-1]


@pytest.mark.parametrize(
    "words, more",
    [(["--no-progress"], {}), (["-q"], {}), ([], {"HF_HUB_DISABLE_PROGRESS_BARS": "1"})],
)
def test_progress_can_be_done_without(words, more, tmp_path):
    assert "whole" not in piped(tmp_path, *words, **more)


def test_a_terminal_shows_two_bars(tmp_path):
    shown = on_a_terminal(tmp_path, TERM="xterm", COLUMNS="160")
    assert "69 of 69 tensors" in shown and "of memory" in shown
    assert re.search(r"model-\d+-of-\d+.safetensors \(\d+ of \d+\)", shown) and "\x1b[3" in shown


def test_colour_can_be_done_without(tmp_path):
    shown = on_a_terminal(tmp_path, TERM="xterm", COLUMNS="160", NO_COLOR="1")
    assert "69 of 69 tensors" in shown and "\x1b[38" not in shown and "\x1b[32" not in shown


def test_a_dumb_terminal_gets_lines(tmp_path):
    assert "is whole" in on_a_terminal(tmp_path, TERM="dumb")
