"""Kills runs at random moments: `random_kills.py [--kills N] [--seed N]`.

The program is loaded once and forked, so that a kill takes some milliseconds, and hits the work. A
run has two workers and is killed again and again until one comes to its end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability import runs


def load() -> None:
    """Loads once what every run needs, by a run: those to come are forked.

    With one thread: no fork would have the others.
    """
    torch.set_num_threads(1)
    from mapengine import api, cli  # noqa: F401
    from mapengine.commands import run  # noqa: F401

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        runs.prepare(home, layers=1)
        job = api.Job(api.load(home / "small.yaml"), home / "source", dtype="float32")
        api.run(job, home / "out", sync=False, hash=True)


def start(folder: Path, words: Sequence[str], told: Path = Path(os.devnull)) -> int:
    """Forks a run in a folder; its process. What it says goes to the end of a file."""
    child = os.fork()
    if child:
        return child
    try:
        os.chdir(folder)
        said = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["mapengine", *words]
        from mapengine import cli

        os._exit(cli.invoke())
    finally:
        os._exit(99)


def finish(child: int) -> int:
    """The exit status of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_random(home: Path, kills: int, seed: int) -> Counter[str]:
    """How many runs were killed, and how many came to their end; every state was a good one."""
    chance, ends = random.Random(seed), Counter[str]()
    load()
    runs.prepare(home, layers=6)
    old, new = (_made(home, *words) for words in (("old", "--dtype", "float32"), ("new",)))
    started = time.monotonic()
    _made(home, "timed")
    whole = time.monotonic() - started
    while ends["killed"] < kills:
        overwrite = chance.random() < 0.5
        shutil.rmtree(home / "out", ignore_errors=True)
        if overwrite:
            shutil.copytree(home / "old", home / "out")
        words = runs.words("--workers", "2", *(["--overwrite"] if overwrite else []))
        while True:
            child = start(home, words)
            time.sleep(chance.uniform(0, 1.3 * whole))
            os.kill(child, signal.SIGKILL)
            status = finish(child)
            found = runs.digest(home / "out")
            assert found in (old if overwrite else None, new), f"{status}: neither old nor new"
            if status == 0:
                assert found == new, "it said done, and was not"
                ends["finished"] += 1
                break
            assert status == -signal.SIGKILL, status
            ends["killed"] += 1
        assert finish(start(home, words)) == 0
        assert not (home / ".out.mapengine").exists()
    return ends


def _made(home: Path, name: str, *options: str) -> str | None:
    assert finish(start(home, runs.words("--workers", "2", *options, output=name))) == 0
    return runs.digest(home / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        ends = kill_at_random(Path(home), arguments.kills, arguments.seed)
    took = time.monotonic() - started
    print(f"{ends['killed']} kills, {ends['finished']} runs finished, in {took:.0f} s; none wrong")


if __name__ == "__main__":
    main()
