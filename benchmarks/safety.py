"""What it costs that all is on the disk before it is published, and that all of it is hashed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from benchmarks import checkpoints
from benchmarks.bench import Bench, conversion
from benchmarks.checkpoints import model_of
from benchmarks.places import Place
from benchmarks.rows import Row

WAYS = {
    "neither": ("--no-sync",),
    "synced": ("--sync",),
    "hashed": ("--no-sync", "--hash"),
    "both": ("--sync", "--hash"),
}
_PAIRS = (("synced", "neither"), ("hashed", "neither"), ("both", "synced"), ("both", "neither"))


def rows(bench: Bench) -> Iterator[Row]:
    """Seconds of each way against a plainer one; all of them in each round."""
    model = model_of(bench.size)
    for place in bench.places:
        for layout in bench.layouts:
            group = f"Syncing and hashing, layout {layout}"
            if why := place.lacks(2 * model.nbytes, model.nbytes // 4):
                yield Row(group, "run", place.name, skipped=why)
                continue
            source = checkpoints.write(model, layout, place.folder / "source")
            try:
                seconds = _seconds(bench, place)
            finally:
                shutil.rmtree(source)
            for ours, theirs in _PAIRS:
                what = f"{_flags(ours)} / {_flags(theirs)}"
                yield Row(group, what, place.name, seconds[ours], seconds[theirs])


def _flags(way: str) -> str:
    return " ".join(WAYS[way])


def _seconds(bench: Bench, place: Place) -> dict[str, list[float]]:
    """Each in turn, the first one another in every round; a first round is dropped."""
    source, output = place.folder / "source", place.folder / "ours"
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    order = list(WAYS)
    for _ in range(bench.pairs + 1):
        for way in order:
            contestant = conversion(source, output, *WAYS[way])
            found[way].append(bench.play("safety", contestant).seconds)
        order.append(order.pop(0))
    return {way: seconds[1:] for way, seconds in found.items()}
