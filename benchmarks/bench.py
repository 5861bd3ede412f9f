"""A run of the benchmarks: what was asked for, and contestants taking turns."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.measure import Cost, measure
from benchmarks.places import Place, claim, folder_bytes, forget

ROOT = Path(__file__).parent.parent
MAPPING = ROOT / "mappings" / "mixtral.yaml"
ENGINE = (sys.executable, "-m", "mapengine")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A command that makes the folder `output`, if it makes one."""

    command: Sequence[str]
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """What each run cost, pair by pair."""

    ours: list[Cost]
    theirs: list[Cost]

    def values(self, figure: str) -> tuple[list[float], list[float]]:
        """One figure of all runs, ours and theirs."""
        ours, theirs = ([getattr(cost, figure) for cost in side] for side in self._sides())
        return ours, theirs

    def _sides(self) -> tuple[list[Cost], list[Cost]]:
        return self.ours, self.theirs


@dataclass(frozen=True, slots=True)
class Bench:
    """The options, the places, and every run so far."""

    size: int
    pairs: int
    layouts: Sequence[str]
    workers: Sequence[int]
    memory_sizes: Sequence[int]
    cold: bool
    claim: bool
    official: Path | None
    places: Sequence[Place]
    runs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keeps a sentence for below the table, once."""
        if text not in self.notes:
            self.notes.append(text)

    def alternate(
        self,
        what: str,
        ours: Contestant,
        theirs: Contestant,
        *,
        pairs: int | None = None,
        cold: Path | None = None,
        warm_up: bool = True,
    ) -> Pairs:
        """Both in turn, each first in every second pair. A first pair to warm up is dropped.

        `cold` is a folder that is taken out of the page cache before each run.
        """
        found = Pairs([], [])
        warm_up = warm_up and cold is None
        for number in range((pairs or self.pairs) + warm_up):
            turns = [(ours, found.ours), (theirs, found.theirs)]
            for contestant, costs in turns if number % 2 else reversed(turns):
                costs.append(self.play(what, contestant, cold))
        return Pairs(found.ours[warm_up:], found.theirs[warm_up:])

    def play(self, what: str, contestant: Contestant, cold: Path | None = None) -> Cost:
        """One run by itself: nothing of the last one is left to be written, nothing is kept."""
        output = contestant.output
        if output:
            shutil.rmtree(output, ignore_errors=True)
            os.sync()
        if cold:
            forget(cold)
        if output and self.claim:
            claim(self.size * 3 // 2)
        cost = measure(contestant.command)
        if output:
            cost = replace(cost, output_bytes=folder_bytes(output))
            shutil.rmtree(output)
        self.runs.append({"what": what, "command": list(contestant.command), **asdict(cost)})
        click.echo(f"  {cost.seconds:8.2f} s  {what}: {_short(contestant)}", err=True)
        return cost


def engine(*words: object) -> list[str]:
    """The command line of mapengine."""
    return [*ENGINE, *map(str, words)]


def conversion(source: Path, output: Path, *flags: str) -> Contestant:
    """`mapengine run` of a Mixtral checkpoint."""
    words = ("run", MAPPING, "--source", source, "--output", output, "--quiet", *flags)
    return Contestant(engine(*words), output)


def copy(source: Path, output: Path, synced: bool) -> Contestant:
    """`cp -r` of a checkpoint: what the file system allows."""
    if not synced:
        return Contestant(["cp", "-r", str(source), str(output)], output)
    script = 'cp -r "$1" "$2" && sync -f "$2"'
    return Contestant(["sh", "-c", script, "cp -r, sync -f", str(source), str(output)], output)


def _short(contestant: Contestant) -> str:
    """Its command, without the folders on the way."""
    words = contestant.command[3:] if contestant.command[0] == "sh" else contestant.command
    return " ".join(Path(word).name if word.startswith("/") else word for word in words)
