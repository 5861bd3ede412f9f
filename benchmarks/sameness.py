"""That the contestants do the same work: their outputs compared, tensor for tensor."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import checkpoints
from benchmarks.bench import Bench, Contestant, conversion
from benchmarks.checkpoints import Model
from benchmarks.conversion import OFFICIAL, PLAIN_TORCH
from benchmarks.measure import measure

if TYPE_CHECKING:
    from torch import Tensor

SMALL = Model(hidden=256, ffn=384, layers=9, heads=8, kv_heads=2, vocab=1000)


def check(bench: Bench) -> None:
    """Converts a small checkpoint in each layout by each contestant. Exits where two differ."""
    folder = bench.places[0].folder / "small"
    wanted: dict[str, Tensor] | None = None
    names = []
    for layout in bench.layouts:
        source = checkpoints.write(SMALL, layout, folder / layout)
        for name, contestant in _contestants(bench, layout, source, folder / "output"):
            measure(contestant.command)
            found = _tensors(folder / "output")
            shutil.rmtree(folder / "output")
            wanted = wanted or found
            _compare(f"{name}, layout {layout}", found, wanted)
            names.append(name)
    shutil.rmtree(folder)
    bench.note(
        f"a small checkpoint in layouts {', '.join(bench.layouts)} gave equal tensors by "
        f"{', '.join(dict.fromkeys(names))}"
    )


def _contestants(
    bench: Bench, layout: str, source: Path, output: Path
) -> Iterator[tuple[str, Contestant]]:
    yield "mapengine", conversion(source, output)
    yield "plain torch", Contestant([sys.executable, str(PLAIN_TORCH), str(source), str(output)])
    if bench.official and layout == "B":
        words = [str(bench.official), str(OFFICIAL), str(source), str(output)]
        yield "the official script", Contestant(words)


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {k: t for path in folder.glob("*.safetensors") for k, t in load_file(path).items()}


def _compare(name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    import torch

    if odd := sorted(found.keys() ^ wanted.keys()):
        sys.exit(f"{name}: {odd[0]} and {len(odd) - 1} more are not in both outputs")
    for key, tensor in wanted.items():
        if not torch.equal(found[key], tensor):
            sys.exit(f"{name}: {key} differs")
