"""Conversions of each layout at each place, with what they take in memory and in bytes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import checkpoints
from benchmarks.bench import ROOT, Bench, Contestant, Pairs, conversion, copy
from benchmarks.checkpoints import model_of
from benchmarks.places import Place, folder_bytes, may_drop_caches
from benchmarks.rows import Row
from mapengine.report.units import size_text

PLAIN_TORCH = Path(__file__).parent / "plain_torch.py"
OFFICIAL = ROOT / "tests" / "golden" / "run_script.py"
SHARD = 5 * 10**9
SMALL_SHARD = "1GB"
"""So that there are several files to write, as there are of any model of more than 5 GB."""
COPY_GOALS = {"A": 0.8, "B": 0.8, "C": 0.6}
"""The largest good ratios to `cp -r` on a disk: C is renamed and its q and k permuted, no more."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two contestants; `memory` is what theirs needs of it beside the page cache."""

    name: str
    ours: Contestant
    theirs: Contestant
    goal: float
    memory: int = 0
    pairs: int | None = None
    warm_up: bool = True


def rows(bench: Bench) -> Iterator[Row]:
    """Every layout at every place."""
    size = model_of(bench.size).nbytes
    for layout in bench.layouts:
        group = f"Conversion, layout {layout}: {checkpoints.LAYOUTS[layout]}"
        making = size if layout != "B" else size // 4  # a file at a time
        for place in bench.places:
            if why := place.lacks(2 * size, making):
                yield Row(group, f"{size_text(size)}", place.name, skipped=why)
                continue
            source = checkpoints.write(model_of(bench.size), layout, place.folder / "source")
            try:
                yield from _rows(bench, group, place, source, layout)
            finally:
                shutil.rmtree(source)


def _rows(bench: Bench, group: str, place: Place, source: Path, layout: str) -> Iterator[Row]:
    size = folder_bytes(source)
    synced, *others = _contests(bench, place, source, layout)
    pairs = _played(bench, synced, layout)
    yield Row(group, synced.name, place.name, *pairs.values("seconds"), goal=synced.goal)
    yield from _bytes(group, place.name, pairs, size)
    for contest in others:
        if why := place.lacks(size, contest.memory):
            yield Row(group, contest.name, place.name, skipped=why)
            continue
        pairs = _played(bench, contest, layout)
        yield Row(group, contest.name, place.name, *pairs.values("seconds"), goal=contest.goal)
        if contest.memory:
            yield from _memory(group, contest.name, place.name, pairs)
    if bench.cold:
        yield from _cold(bench, group, place, source, layout)


def _contests(bench: Bench, place: Place, source: Path, layout: str) -> list[Contest]:
    size = folder_bytes(source)
    ours, theirs = place.folder / "ours", place.folder / "theirs"
    unsynced = conversion(source, ours, "--no-sync")
    sharded = conversion(source, ours, "--no-sync", "--max-shard-size", SMALL_SHARD)
    goal = 1 if place.in_memory else COPY_GOALS[layout]
    plain = Contestant([sys.executable, str(PLAIN_TORCH), str(source), str(theirs)], theirs)
    contests = [
        Contest(
            "run / cp -r, both synced", conversion(source, ours), copy(source, theirs, True), goal
        ),
        Contest("run / cp -r, neither synced", unsynced, copy(source, theirs, False), goal),
        Contest(
            f"the same, in shards of {SMALL_SHARD}", sharded, copy(source, theirs, False), goal
        ),
        Contest("run --no-sync / plain torch", unsynced, plain, 1, min(size, SHARD) * 3 // 2),
    ]
    if bench.official and layout == "B":
        script = Contestant([str(bench.official), str(OFFICIAL), str(source), str(theirs)], theirs)
        name = "run --no-sync / official script"
        memory = size * 5 // 2
        contests.append(Contest(name, unsynced, script, 1 / 8, memory, pairs=1, warm_up=False))
    return contests


def _played(bench: Bench, contest: Contest, layout: str, cold: Path | None = None) -> Pairs:
    what = f"{layout}, {contest.name}"
    return bench.alternate(
        what, contest.ours, contest.theirs,
        pairs=contest.pairs, warm_up=contest.warm_up, cold=cold,
    )  # fmt: skip


def _memory(group: str, name: str, where: str, pairs: Pairs) -> Iterator[Row]:
    yield Row(group, f"{name}: peak resident", where, *pairs.values("peak_rss"), unit="B")
    yield Row(group, f"{name}: peak anonymous", where, *pairs.values("peak_anonymous"), unit="B")


def _bytes(group: str, where: str, pairs: Pairs, size: int) -> Iterator[Row]:
    """What went through system calls, against what is in the files."""
    costs = pairs.ours
    read = [cost.rchar for cost in costs]
    written = [cost.wchar for cost in costs]
    made = [cost.output_bytes for cost in costs]
    source = [size] * len(costs)
    yield Row(group, "run: read by calls / source", where, read, source, "B", goal=1.02)
    yield Row(group, "run: written by calls / output", where, written, made, "B", goal=1.02)


def _cold(bench: Bench, group: str, place: Place, source: Path, layout: str) -> Iterator[Row]:
    where = f"{place.name}, cold"
    if place.in_memory:
        yield Row(group, "run / cp -r", where, skipped="its files are the page cache")
        return
    if not may_drop_caches():
        bench.note(
            "cold: dropping the page cache is not permitted here, so only the source files "
            "were taken out of it (posix_fadvise)"
        )
    size = folder_bytes(source)
    for contest in _contests(bench, place, source, layout)[:2]:
        pairs = _played(bench, contest, f"{layout}, cold", source)
        yield Row(group, contest.name, where, *pairs.values("seconds"), goal=contest.goal)
        read = [cost.read_bytes for cost in pairs.ours]
        name = "run: read from the disk / source"
        yield Row(group, name, where, read, [size] * len(read), "B")
