"""How a conversion gains by more threads: layout B, which has the most to compute."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from benchmarks import checkpoints
from benchmarks.bench import Bench, conversion
from benchmarks.checkpoints import model_of
from benchmarks.places import Place
from benchmarks.rows import Row


def rows(bench: Bench) -> Iterator[Row]:
    """Seconds at each number of workers against the first number; all of them in each round."""
    model = model_of(bench.size)
    first = bench.workers[0]
    for place in bench.places:
        group = f"Workers, layout B: n workers / {first}"
        if why := place.lacks(2 * model.nbytes, model.nbytes // 4):
            yield Row(group, "run --workers", place.name, skipped=why)
            continue
        source = checkpoints.write(model, "B", place.folder / "source")
        try:
            seconds = _seconds(bench, place)
        finally:
            shutil.rmtree(source)
        for workers in bench.workers:
            theirs = [] if workers == first else seconds[first]
            yield Row(group, f"run --workers {workers}", place.name, seconds[workers], theirs)


def _seconds(bench: Bench, place: Place) -> dict[int, list[float]]:
    source, output = place.folder / "source", place.folder / "ours"
    found: dict[int, list[float]] = {workers: [] for workers in bench.workers}
    for _ in range(bench.pairs + 1):
        for workers, seconds in found.items():
            contestant = conversion(source, output, "--workers", str(workers))
            seconds.append(bench.play("workers", contestant).seconds)
    return {workers: seconds[1:] for workers, seconds in found.items()}
