"""Random mappings on random checkpoints, killed at random.

    python tests/reliability/soak.py [--minutes N] [--seed S] [--trial N]

Each trial is a mapping put together from the whole language, with a checkpoint that it fits. It is
run undisturbed, and again under kills; the outcome of both is the same, bit for bit, and is what
plain torch makes of the source. Then it is taken back, under kills too, and is the source again.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability import runs
from reliability.random_files import config_in, tensors_in, write_source
from reliability.random_kills import finish, load, start
from reliability.random_mapping import Trial, trial
from reliability.random_ops import raw

NOT_COMPARED = ("mapengine.json", "README.md")
_ATTEMPTS = 3


class Wrong(Exception):
    """What came out is not what must come out."""


@dataclass
class Soak:
    """Trials in a folder, and the count of what was seen."""

    home: Path
    seed: int
    attempts: int = _ATTEMPTS

    def __post_init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.words: Counter[str] = Counter()

    def run(self, number: int) -> None:
        """One trial, from nothing. Raises `Wrong`; the folder is then left as it is."""
        name = f"{self.seed} {number}"
        chance, one = random.Random(f"{name} options"), trial(name)
        folder = self.home / str(number)
        folder.mkdir(parents=True)
        (folder / "mapping.yaml").write_text(one.text, encoding="utf-8")
        write_source(folder / "source", one.files, one.form, one.config, one.companions)
        there = self._convert(folder, chance, "source", "there", _layout(one.layout_there))
        _compare_target(there, one)
        if chance.random() < 0.8:
            more = ["--reverse", *_layout(one.layout_back)]
            back = self._convert(folder, chance, "there", "back", more)
            _compare_source(back, one)
            self.seen["taken back"] += 1
        self.seen["trials"] += 1
        self.seen["tensors"] += len(one.there)
        self.words.update(one.words)
        shutil.rmtree(folder)

    def _convert(
        self, folder: Path, chance: random.Random, source: str, output: str, more: Sequence[str]
    ) -> Path:
        """Runs undisturbed and under kills; both must have made the same files."""
        words = ["run", "mapping.yaml", "-s", source, *more, *_options(chance)]
        started = time.monotonic()
        status = finish(start(folder, [*words, "-o", "calm"], folder / "told"))
        self._check_status(folder, status, "calm")
        whole = time.monotonic() - started
        wanted, out = runs.digest(folder / "calm"), folder / output
        words += ["-o", output]
        old = None
        if chance.random() < 0.3:
            shutil.copytree(folder / "calm", out)
            next(one for one in sorted(out.iterdir()) if one.suffix != ".json").write_bytes(b"old")
            old, words = runs.digest(out), [*words, "--overwrite"]
        for _ in range(chance.randint(0, self.attempts)):
            child = start(folder, [*words, *_how(chance)], folder / "told")
            time.sleep(chance.uniform(0, 1.2 * whole))
            os.kill(child, signal.SIGKILL)
            self.seen["killed" if finish(child) == -signal.SIGKILL else "too late"] += 1
            _check_whole(out, old, wanted)
        child = start(folder, [*words, *_how(chance)], folder / "told")
        status = finish(child)
        _check_whole(out, old, wanted)
        self._check_status(folder, status, output)
        if runs.digest(out) != wanted:
            raise Wrong(f"{output} is not what the undisturbed run made, in calm")
        if (folder / f".{output}.mapengine").exists():
            raise Wrong("something is left of the run beside its output")
        shutil.rmtree(folder / "calm")
        return out

    @staticmethod
    def _check_status(folder: Path, status: int, output: str) -> None:
        if status:
            raise Wrong(f"the run to {output} ended with {status}: {(folder / 'told').read_text()}")


def _check_whole(out: Path, old: str | None, wanted: str | None) -> None:
    if runs.digest(out) not in (old, wanted):
        raise Wrong(f"{out.name} is neither what it was nor what it is to be")


def _layout(name: str | None) -> list[str]:
    return ["--layout", name] if name else []


def _options(chance: random.Random) -> list[str]:
    """Those that decide what is written."""
    options = ["--max-shard-size", chance.choice(["500", "2KB", "20KB", "5GB"])]
    return options + chance.choice([[], [], ["--hash"]])


def _how(chance: random.Random) -> list[str]:
    """Those that decide only how."""
    workers, memory = str(chance.randint(1, 4)), chance.choice(["20MB", "64MB", "512MB"])
    sync = chance.choice(["--sync", "--sync", "--no-sync"])
    return ["--workers", workers, "--memory", memory, sync, "--no-progress"]


def _compare_target(folder: Path, one: Trial) -> None:
    found: dict[str, Tensor] = {}
    for tensors in tensors_in(folder).values():
        if twice := found.keys() & tensors.keys():
            raise Wrong(f"{folder.name}: {sorted(twice)} in two files")
        found |= tensors
    _compare(found, one.there, folder.name)
    if one.config_there is not None:
        _compare_config(config_in(folder, one.target_config), one.config_there, folder.name)
    _compare_companions(folder, one)


def _compare_source(folder: Path, one: Trial) -> None:
    by_file = one.form.ranked or one.form.by_layer
    found, wanted = (
        {f"{name if by_file else ''}:{key}": value for name, held in files.items()
         for key, value in held.items()}
        for files in (tensors_in(folder), one.files)
    )  # fmt: skip
    _compare(found, wanted, folder.name)
    if one.config_back is not None:
        _compare_config(config_in(folder, one.form.config), one.config_back, folder.name)
    _compare_companions(folder, one)


def _compare(found: dict[str, Tensor], wanted: dict[str, Tensor], where: str) -> None:
    if odd := found.keys() ^ wanted.keys():
        raise Wrong(f"{where}: on one side only: {sorted(odd)}")
    for key, one in wanted.items():
        other = found[key]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            raise Wrong(
                f"{where}: {key} is {other.dtype} {other.shape}, not {one.dtype} {one.shape}"
            )
        bits = (raw(t.contiguous()) if t.dtype != torch.bool else t for t in (one, other))
        if not torch.equal(*bits):
            raise Wrong(f"{where}: {key} has other values than it must have")


def _compare_config(found: Any, wanted: Any, where: str) -> None:
    if not _same(found, wanted):
        raise Wrong(f"{where}: the config is {found}, and must be {wanted}")


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 is not 1.0, nor true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other or (one != one and other != other)


def _compare_companions(folder: Path, one: Trial) -> None:
    for name, content in one.companions.items():
        if (folder / name).read_bytes() != content:
            raise Wrong(f"{folder.name}: {name} is not what it was")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--trial", type=int, help="only this one of the seed, as it was said")
    arguments = parser.parse_args()
    load()
    started, end = time.monotonic(), 60 * arguments.minutes
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    soak, number = Soak(home, arguments.seed), arguments.trial or 0
    print(f"seed {arguments.seed}", flush=True)
    while time.monotonic() - started < end:
        try:
            soak.run(number)
        except Exception as error:
            print(
                f"--seed {arguments.seed} --trial {number}: {error}\nkept in {home / str(number)}"
            )
            if not isinstance(error, Wrong):
                raise
            return 1
        number += 1
        if arguments.trial is not None:
            break
    home.rmdir()
    took, seen = time.monotonic() - started, soak.seen
    print(
        f"{seen['trials']} trials, {seen['taken back']} of them taken back, {seen['tensors']:,} "
        f"tensors and {seen['killed']} kills in {took:.0f} s; none wrong"
    )
    print(", ".join(f"{word} {count}" for word, count in soak.words.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
