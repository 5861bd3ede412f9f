"""Cuts the power under runs: `power_cuts.py [--cuts N] [--seed N]`. Wants root and loop devices.

The output lies on an ext4 of its own, in a file. A copy of that file at some moment is what a disk
holds after a cut then: it is mounted, which replays its journal, and looked at. Nothing may be
written while it is copied, or it would hold a late block beside an early one, as no disk does: so
the run is stopped, and the copy is good when the file is still the same after it. What reported
success before the copy must be there, whole; else the run goes on from what is there.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability import runs
from reliability.random_kills import finish, load, start

_MEGABYTES = 48


def cut_at_random(home: Path, cuts: int, seed: int) -> Counter[str]:
    """What was found after each cut: `absent`, `old` or `new`; every one was whole."""
    chance, found = random.Random(seed), Counter[str]()
    load()
    runs.prepare(home / "base", layers=6)
    image, copy = home / "disk", home / "after"
    _empty(image)
    with _mounted(image, home / "disk.d") as disk:
        shutil.copytree(home / "base", disk, dirs_exist_ok=True)
        states = {_made(disk, "old", "--dtype", "float32"): "old", _made(disk, "new"): "new"}
        started = time.monotonic()
        _made(disk, "timed")
        whole = time.monotonic() - started
        for name in ("new", "timed"):
            shutil.rmtree(disk / name)
        states[None] = "absent"
        for _ in range(cuts):
            overwrite = chance.random() < 0.5
            shutil.rmtree(disk / "out", ignore_errors=True)
            if overwrite:
                shutil.copytree(disk / "old", disk / "out")
            os.sync()
            words = runs.words("--workers", "2", *(["--overwrite"] if overwrite else []))
            child = start(disk, words)
            time.sleep(chance.uniform(0, 1.3 * whole))
            status = _snapshot(child, image, copy)
            with _mounted(copy, home / "after.d") as after:
                state = states[runs.digest(after / "out")]  # a KeyError: neither old nor new
                assert state in ("new", "old" if overwrite else "absent"), state
                assert state == "new" or status != 0, "done, and lost"
                found[state] += 1
                assert finish(start(after, words)) == 0
                assert states[runs.digest(after / "out")] == "new"
                assert not (after / ".out.mapengine").exists()
            shutil.rmtree(disk / ".out.mapengine", ignore_errors=True)
    return found


def _snapshot(child: int, image: Path, copy: Path) -> int | None:
    """Copies the image as it is now, and ends the run; its exit status if it had ended."""
    os.kill(child, signal.SIGSTOP)
    stopped = os.waitpid(child, os.WUNTRACED)[1]
    shutil.copyfile(image, copy)
    while not filecmp.cmp(image, copy, shallow=False):
        shutil.copyfile(image, copy)
    if not os.WIFSTOPPED(stopped):
        return os.waitstatus_to_exitcode(stopped)
    os.kill(child, signal.SIGKILL)
    finish(child)
    return None


def _made(folder: Path, name: str, *options: str) -> str | None:
    assert finish(start(folder, runs.words("--workers", "2", *options, output=name))) == 0
    return runs.digest(folder / name)


def _empty(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(_MEGABYTES * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)


@contextmanager
def _mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,commit=1", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def is_possible() -> bool:
    """Whether an image can be made and mounted here."""
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        return False
    with tempfile.TemporaryDirectory() as home:
        image = Path(home, "disk")
        _empty(image)
        try:
            with _mounted(image, Path(home, "disk.d")):
                return True
        except subprocess.CalledProcessError:
            return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not is_possible():
        sys.exit("an image of a file system cannot be mounted here: it takes root and loop devices")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        found = cut_at_random(Path(home), arguments.cuts, arguments.seed)
    print(f"{sum(found.values())} power cuts in {time.monotonic() - started:.0f} s; {dict(found)}")


if __name__ == "__main__":
    main()
