"""Signals: the exit status that a shell expects, within two seconds, and a run to go on with."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mapengine import api
from mapengine.checkpoints.workspace import place_of
from reliability import runs

PLACE = Path(".out.mapengine")
LONGEST = 2.0  # seconds


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path, layers=24)
    return tmp_path


def started(*more):
    """A run of many shards, of which one is whole."""
    process = subprocess.Popen(
        runs.command("--workers", "2", *more), stderr=subprocess.PIPE, text=True,
        env=runs.environment(),
    )  # fmt: skip
    while not any(PLACE.glob("new/*")):
        assert process.poll() is None
        time.sleep(0.002)
    return process


def ended(process):
    """Its status and what it said, where it takes no longer than it may."""
    begun = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - begun < LONGEST
    return process.returncode, told


CASES = [(name, ()) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU")]
CASES += [("SIGTERM", ("--hash",)), ("SIGINT", ("--no-sync",))]


@pytest.mark.parametrize("name, more", CASES, ids=str)
def test_a_signal_ends_a_run_soon_and_leaves_what_is_gone_on_with(name, more):
    process = started(*more)
    process.send_signal(getattr(signal, name))
    status, told = ended(process)
    assert status == 128 + getattr(signal, name), told
    assert "the same command goes on from here" in told and "Traceback" not in told
    assert not Path("out").exists()
    with (PLACE / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is still held
    again = runs.run(Path(), *more)
    assert again.returncode == 0, again.stderr
    wanted = runs.run(Path(), *more, output="wanted")
    assert wanted.returncode == 0
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))


def test_a_second_interrupt_ends_it_too():
    process = started()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    status, told = ended(process)
    assert status in (130, -signal.SIGINT) and not Path("out").exists(), told
    assert runs.run(Path()).returncode == 0


def test_a_long_task_is_given_up_too(monkeypatch):
    """The SHA-256 of a shard that is one task: as long as a second for each gigabyte."""
    Path("big").mkdir()
    size = 2_000_000_000
    header = b'{"norm":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    with Path("big/model.safetensors").open("wb") as file:  # a hole, which takes no room
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    Path("big/config.json").write_text('{"layers": 0}')
    process = subprocess.Popen(
        [*runs.command("--hash", "--no-sync", "--workers", "2"), "-s", "big"],
        stderr=subprocess.PIPE, text=True, env=runs.environment(),
    )  # fmt: skip
    shard = PLACE / "parts" / "model.safetensors"
    while not (shard.exists() and shard.stat().st_blocks * 512 >= size):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143


def test_a_signal_that_is_ignored_stays_so():
    """What `nohup` promises: the end of the terminal is not the end of the run."""
    program = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        f"sys.argv = {['mapengine', *runs.words()]!r}; from mapengine.cli import main; main()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=runs.environment())
    while not any(PLACE.glob("new/*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0 and Path("out").is_dir()


def test_a_reader_that_goes_away_is_no_error_of_ours():
    """As `mapengine ... | head` does."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [word for word in runs.command() if word != "--quiet"]
    done = subprocess.run(
        words, stdout=writing, stderr=subprocess.PIPE, text=True, env=runs.environment()
    )
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE, done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert not PLACE.exists()
    assert api.run(api.Job("small.yaml", "source", max_shard_size=400_000), "out").was_finished
    assert not place_of(Path("out")).exists()
