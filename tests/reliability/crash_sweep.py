"""Stops a run at every system call that changes a file, by a kill or an error of the disk.

    python tests/reliability/crash_sweep.py [--every N] [--layers N]

Wants strace, which injects what is wanted at the N-th call of a kind. After each the output must be
absent, the old one, or the new one, whole; and the same command, run again, must come to what an
undisturbed run comes to, bit for bit.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability import runs

CALLS = (
    "openat", "mkdir", "rename", "renameat2", "unlink", "unlinkat", "rmdir", "write", "pwrite64",
    "copy_file_range", "fallocate", "ftruncate", "fsync", "flock", "close",
)  # fmt: skip
FAULTS = {"SIGKILL": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
_ONE_THREAD = ("--workers", "1")


@dataclass(frozen=True)
class Point:
    """The `number`-th `call` of a run, and whether it replaces an output."""

    call: str
    number: int
    overwrite: bool

    def __str__(self) -> str:
        return f"{self.call}-{self.number}{'-over' * self.overwrite}"


class Sweep:
    """A source, an old output and what a run makes of it, in a folder of its own."""

    def __init__(self, home: Path, layers: int = 2) -> None:
        self.home = home
        runs.prepare(home, layers)
        self.old = self._made("old", "--dtype", "float32")
        self.new = self._made("new")

    def _made(self, name: str, *options: str) -> str | None:
        done = runs.run(self.home, *options, output=name)
        assert done.returncode == 0, done.stderr
        return runs.digest(self.home / name)

    def points(self) -> list[Point]:
        """Every call of a run, fresh and over another, that is about a file of the output."""
        return [point for overwrite in (False, True) for point in self._points(overwrite)]

    def _points(self, overwrite: bool) -> Iterator[Point]:
        with self._copy(overwrite) as copy:
            log = copy / "log"
            traced = ["strace", "-f", "--seccomp-bpf", "-y", "-o", str(log)]
            traced += ["-e", f"trace={','.join(CALLS)}"]
            done = _run([*traced, *_command(overwrite)], copy)
            assert done.returncode == 0, done.stderr
            numbers: Counter[str] = Counter()
            for line in log.read_text(errors="replace").splitlines():
                call = re.match(r"\d+ +(\w+)\(", line)
                if call is None:
                    continue
                numbers[call[1]] += 1
                ours = ".out.mapengine" in line or re.search(r'/out[">/]', line)
                if ours and not (call[1] == "openat" and "O_CREAT" not in line):
                    yield Point(call[1], numbers[call[1]], overwrite)

    def strike(self, point: Point, fault: str) -> str:
        """How a run ended with one of `FAULTS`, or an error: `killed`, `failed` or `unharmed`.

        Raises `AssertionError` where the output is anything but absent, old or new, where the
        message is none, or where the next run does not come to the same.
        """
        with self._copy(point.overwrite) as copy:
            inject = f"inject={point.call}:{FAULTS.get(fault, f'error={fault}')}"
            inject += f":when={point.number}"
            quick = ["--seccomp-bpf"] if fault != "SIGKILL" else []  # which injects no signals
            traced = ["strace", "-f", *quick, "-o", "/dev/null"]
            traced += ["-e", f"trace={point.call}", "-e", inject]
            done = _run([*traced, *_command(point.overwrite)], copy)
            found = runs.digest(copy / "out")
            allowed = (self.old if point.overwrite else None, self.new)
            assert found in allowed, f"{point} {fault}: the output is neither old nor new"
            if done.returncode == 0:
                assert found == self.new, f"{point} {fault}: it said done, and was not"
            elif fault != "SIGKILL":
                assert done.returncode == 2, f"{point} {fault}: {done.returncode} {done.stderr}"
                assert re.search(r"ME6\d\d|ME5\d\d|stdout", done.stderr), f"{point}: {done.stderr}"
                assert "internal error" not in done.stderr, f"{point} {fault}: {done.stderr}"
            again = _run(_command(point.overwrite), copy)
            assert again.returncode == 0, f"{point} {fault}, again: {again.stderr}"
            assert runs.digest(copy / "out") == self.new, f"{point} {fault}: another result"
            left = {path.name for path in copy.iterdir()} - {"out", "source", "small.yaml"}
            assert not left, f"{point} {fault}: {left} is left"
        return {0: "unharmed", 2: "failed"}.get(done.returncode, "killed")

    def _copy(self, overwrite: bool) -> _Copy:
        return _Copy(self.home, overwrite)


class _Copy:
    """A folder with the source, whose times are those of the first, and maybe an old output."""

    def __init__(self, home: Path, overwrite: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=home))
        for name in ("source", "small.yaml"):
            (self.folder / name).symlink_to(home / name)
        if overwrite:
            shutil.copytree(home / "old", self.folder / "out")

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)


def _command(overwrite: bool) -> list[str]:
    return runs.command(*_ONE_THREAD, *(["--overwrite"] if overwrite else []))


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env=runs.environment(), timeout=120
    )


def is_possible() -> bool:
    """Whether strace is here, and may trace."""
    try:
        return subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode == 0
    except FileNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each so many-th point")
    parser.add_argument("--layers", type=int, default=2, help="of the model that is converted")
    arguments = parser.parse_args()
    started, ends, wrong = time.monotonic(), Counter[tuple[str, str]](), list[str]()
    with tempfile.TemporaryDirectory() as home:
        sweep = Sweep(Path(home), arguments.layers)
        cases = [(p, f) for p in sweep.points() for f in FAULTS][:: arguments.every]

        def strike(case: tuple[Point, str]) -> tuple[str, str]:
            try:
                return case[1], sweep.strike(*case)
            except AssertionError as error:
                wrong.append(str(error))
                return case[1], "WRONG"

        with ThreadPoolExecutor(2) as pool:
            for end in pool.map(strike, cases):
                ends[end] += 1
    print(f"{len(cases)} injections in {time.monotonic() - started:.0f} s, {len(wrong)} wrong")
    for (fault, end), count in sorted(ends.items()):
        print(f"  {fault:8} {end:9} {count}")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
