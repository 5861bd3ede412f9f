"""That memory does not grow with the checkpoint: layout B, one run of each size."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from benchmarks import sparse
from benchmarks.bench import Bench, conversion
from benchmarks.checkpoints import model_of
from benchmarks.measure import Cost
from benchmarks.places import Place
from benchmarks.rows import Row
from mapengine.report.units import size_text

CEILINGS: Sequence[tuple[str, Sequence[str]]] = (
    ("", ()),
    (" --memory 128MB", ("--memory", "128MB")),
)


def rows(bench: Bench) -> Iterator[Row]:
    """Peaks of every size against those of the first one that was converted."""
    group = "Memory, layout B from a sparse source: its peak / that of the smallest"
    first: dict[str, Cost] = {}
    for size in bench.memory_sizes:
        model = model_of(size, narrowest=2048)  # widths alike, so that only the size differs
        place, why = _roomy(bench, model.nbytes)
        if place is None:
            yield Row(group, f"run of {size_text(size)}", "", skipped=why)
            continue
        source = sparse.write_hub(model, place.folder / "source")
        try:
            for name, flags in CEILINGS:
                contestant = conversion(source, place.folder / "ours", *flags)
                cost = bench.play(f"memory, {size_text(size)}", contestant)
                yield from _rows(group, f"{size_text(size)}{name}", place, cost, first.get(name))
                first.setdefault(name, cost)
        finally:
            shutil.rmtree(source)


def _rows(group: str, name: str, place: Place, cost: Cost, first: Cost | None) -> Iterator[Row]:
    for figure, words in (("peak_rss", "peak resident"), ("peak_anonymous", "peak anonymous")):
        theirs = [getattr(first, figure)] if first else []
        ours, goal = [getattr(cost, figure)], 1.1 if first else None
        yield Row(group, f"{name}: {words}", place.name, ours, theirs, "B", goal)


def _roomy(bench: Bench, size: int) -> tuple[Place | None, str]:
    """The first place with room for the output, or why there is none. The source takes none."""
    reasons = []
    for place in bench.places:
        if not (why := place.lacks(size)):
            return place, ""
        reasons.append(f"{place.name}: {why}")
    return None, "; ".join(reasons)
