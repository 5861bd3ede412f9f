"""Checkpoints of odd proportions: no cliff where files or tensors are many, or huge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import checkpoints, sparse
from benchmarks.bench import Bench, conversion, copy
from benchmarks.checkpoints import Model, model_of
from benchmarks.places import Place
from benchmarks.rows import Row
from mapengine.report.units import size_text

FILES = 2000
GIANT_VOCAB = 10**6


@dataclass(frozen=True, slots=True)
class Proportion:
    """A checkpoint's name, its sizes, who writes it, and the largest ratio that is good."""

    name: str
    model: Model
    write: Callable[[Model, Path], Path]
    goal: float | None = 1.25


def rows(bench: Bench) -> Iterator[Row]:
    """Each proportion at each place against `cp -r`, with and without syncing."""
    group = "Proportions, layout C: run / cp -r"
    for place in bench.places:
        for proportion in proportions(bench.size):
            size = proportion.model.nbytes
            name = f"{size_text(size)} {proportion.name}"
            if why := place.lacks(2 * size, size):
                yield Row(group, name, place.name, skipped=why)
                continue
            source = proportion.write(proportion.model, place.folder / "source")
            try:
                yield from _rows(bench, group, name, place, proportion.goal)
            finally:
                shutil.rmtree(source)


def _rows(bench: Bench, group: str, name: str, place: Place, goal: float | None) -> Iterator[Row]:
    source, ours, theirs = (place.folder / part for part in ("source", "ours", "theirs"))
    for synced in (True, False):
        flags = () if synced else ("--no-sync",)
        what = f"{name}, {'synced' if synced else 'not synced'}"
        contestants = conversion(source, ours, *flags), copy(source, theirs, synced)
        pairs = bench.alternate(name, *contestants)
        yield Row(group, what, place.name, *pairs.values("seconds"), goal=goal)


def proportions(size: int) -> list[Proportion]:
    """Of about `size` bytes, but for the many norms, whose size is what their number makes it."""
    many = _small_layers(size // FILES)
    hidden = max(size // (4 * GIANT_VOCAB) // 64 * 64, 64)
    giant = Model(hidden, hidden, 1, heads=16, vocab=GIANT_VOCAB)
    norms = Model(32, 48, 1000, heads=4, kv_heads=2, vocab=256)
    return [
        Proportion(f"in {FILES:,} files", many, _write_sharded),
        Proportion("in one file", model_of(size), _write_one),
        Proportion("in two tensors, nearly", giant, _write_one),
        Proportion(f"in {len(norms.shapes()):,} tensors", norms, _write_one, goal=None),
    ]


def _small_layers(size: int) -> Model:
    """As many layers as files, less one for the rest, each of about `size` bytes."""
    hidden = max(round((size / 2 / 13) ** 0.5) // 16 * 16, 16)
    return Model(hidden, hidden * 7 // 2, FILES - 1, heads=4, kv_heads=1, experts=1, vocab=256)


def _write_one(model: Model, folder: Path) -> Path:
    return checkpoints.write(model, "C", folder)


def _write_sharded(model: Model, folder: Path) -> Path:
    """A layer in each file, by the safetensors library."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    checkpoints.write_params(model, "C", folder)
    shards = sparse.layer_shards(model)
    for name, shapes in shards.items():
        save_file({key: checkpoints.random(key, s) for key, s in shapes.items()}, folder / name)
    sparse.write_index(folder, shards, model.nbytes)
    return folder
