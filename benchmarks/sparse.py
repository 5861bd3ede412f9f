"""Checkpoints that are all header: of full size, real to every reader, and next to no room taken.

The data are holes, which read as zeros. Headers come from torch.save and by the safetensors format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from benchmarks.checkpoints import Model, Shapes, hub_files, write_params


def write_hub(model: Model, folder: Path) -> Path:
    """Layout B, by torch.save without its data."""
    import torch
    from torch.serialization import skip_data

    folder.mkdir(parents=True)
    write_params(model, "B", folder)
    for name, shapes in hub_files(model.shapes("B"), model.layers):
        # Memory that is never touched, so that no page of it comes to exist.
        state = {key: torch.empty(shape, dtype=torch.bfloat16) for key, shape in shapes.items()}
        with skip_data():
            torch.save(state, folder / name)
    return folder


def write_sharded(model: Model, folder: Path) -> Path:
    """Layout C, a layer in each shard and the rest in the last, with their index."""
    folder.mkdir(parents=True)
    write_params(model, "C", folder)
    shards = layer_shards(model)
    for name, shapes in shards.items():
        _write_shard(folder / name, shapes)
    write_index(folder, shards, model.nbytes)
    return folder


def layer_shards(model: Model) -> dict[str, Shapes]:
    """File names, and what is in each: a layer, or what is in none."""
    layer = model.layer
    parts = [{f"layers.{n}.{k}": s for k, s in layer.items()} for n in range(model.layers)]
    parts.append(model.ends)
    count = len(parts)
    name = "consolidated-{:05}-of-{:05}.safetensors".format
    return {name(number, count): shapes for number, shapes in enumerate(parts, 1)}


def write_index(folder: Path, shards: dict[str, Shapes], size: int) -> None:
    weight_map = {key: name for name, shapes in shards.items() for key in shapes}
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps(index))


def header_bytes(folder: Path) -> int:
    """All that needs to be read of safetensors files to know what they hold, and the JSON files."""
    total = 0
    for path in folder.iterdir():
        with path.open("rb") as file:
            headers = path.suffix == ".safetensors"
            total += 8 + int.from_bytes(file.read(8), "little") if headers else path.stat().st_size
    return total


def _write_shard(path: Path, shapes: Shapes) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
