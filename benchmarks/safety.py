"""What it costs that all is on the disk before it is published, and that all of it is hashed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from benchmarks import checkpoints
from benchmarks.bench import Bench, Pairs, conversion
from benchmarks.checkpoints import model_of
from benchmarks.measure import Cost
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
    """Time of each way against a plainer one, and of the processors; all of them in each round."""
    model = model_of(bench.size)
    for place in bench.places:
        for layout in bench.layouts:
            group = f"Syncing and hashing, layout {layout}"
            if why := place.lacks(2 * model.nbytes, model.nbytes // 4):
                yield Row(group, "run", place.name, skipped=why)
                continue
            source = checkpoints.write(model, layout, place.folder / "source")
            try:
                costs = _costs(bench, place)
            finally:
                shutil.rmtree(source)
            for ours, theirs in _PAIRS:
                what = f"{_flags(ours)} / {_flags(theirs)}"
                pairs = Pairs(costs[ours], costs[theirs])
                for more, figure in (("", "seconds"), (": processors", "processor_seconds")):
                    yield Row(group, what + more, place.name, *pairs.values(figure))


def _flags(way: str) -> str:
    return " ".join(WAYS[way])


def _costs(bench: Bench, place: Place) -> dict[str, list[Cost]]:
    """Each in turn, the first one another in every round; a first round is dropped."""
    source, output = place.folder / "source", place.folder / "ours"
    found: dict[str, list[Cost]] = {way: [] for way in WAYS}
    order = list(WAYS)
    for _ in range(bench.pairs + 1):
        for way in order:
            contestant = conversion(source, output, *WAYS[way])
            found[way].append(bench.play("safety", contestant))
        order.append(order.pop(0))
    return {way: costs[1:] for way, costs in found.items()}
