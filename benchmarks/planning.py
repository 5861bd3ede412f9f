"""That planning is linear in the tensors, and reads headers alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import sparse
from benchmarks.bench import MAPPING, Bench, Contestant, engine
from benchmarks.checkpoints import Model
from benchmarks.measure import Cost
from benchmarks.rows import Row
from mapengine.report.units import size_text

WHOLE = Model(hidden=7168, ffn=2048, layers=61, heads=56, experts=384, vocab=129280)
LAYERS = (15, 30, 61, 87)
"""A quarter, a half and the whole of it, and as many as make 100,000 tensors."""


def rows(bench: Bench) -> Iterator[Row]:
    """Seconds and memory of each size, against what the smallest one's would be at that size."""
    group = "Planning, 384 experts a layer: its figure / the smallest's times the tensors"
    where = bench.places[0].name
    smallest: tuple[int, list[Cost]] | None = None
    for layers in LAYERS:
        model = replace(WHOLE, layers=layers)
        count = len(model.shapes())
        costs, headers = _planned(bench, model)
        theirs: dict[str, list[float]] = {"seconds": [], "peak_rss": []}
        goal = None
        if smallest:
            times, goal = count / smallest[0], 1.1
            for figure, values in theirs.items():
                values += [getattr(cost, figure) * times for cost in smallest[1]]
        smallest = smallest or (count, costs)
        name = f"{count:,} tensors, {size_text(model.nbytes)}"
        seconds = [cost.seconds for cost in costs]
        peaks = [cost.peak_rss for cost in costs]
        read = [cost.rchar for cost in costs]
        yield Row(group, name, where, seconds, theirs["seconds"], goal=goal)
        yield Row(group, f"{name}: peak resident", where, peaks, theirs["peak_rss"], "B", goal)
        yield Row(group, f"{name}: read / headers", where, read, [headers] * len(read), "B")


def _planned(bench: Bench, model: Model) -> tuple[list[Cost], int]:
    """What planning it costs, and the bytes of its headers."""
    source = sparse.write_sharded(model, bench.places[0].folder / "source")
    plan = Contestant(engine("plan", MAPPING, "--source", source))
    try:
        costs = [bench.play("planning", plan) for _ in range(bench.pairs + 1)]
        return costs[1:], sparse.header_bytes(source)
    finally:
        shutil.rmtree(source)
