"""A small mapping and its checkpoint, whole and good; a hostile case changes one thing in it."""

import json
from pathlib import Path

import torch
from formats.files import saved
from safetensors.torch import save

MAPPING = """\
mapengine: 1
name: small
source: {config: params.json, tensors: %s}
target: {config: config.json, tensors: model.safetensors}
files: [notes.txt]
config: {layers: {source: layers, target: num_layers}}
dims: {layer: layers}
tensors:
  - x
  - layers.{layer}.w -> blocks.{layer}.w: {ops: [{transpose: [0, 1]}]}
"""
SAFETENSORS, TORCH = "model.safetensors", "model.pt"
LAYERS = 2


def tensors() -> dict[str, torch.Tensor]:
    """The state dict that the mapping takes."""
    layers = {f"layers.{i}.w": torch.arange(6.0).reshape(2, 3) + i for i in range(LAYERS)}
    return {"x": torch.ones(4), **layers}


def write(folder: Path, files: dict[str, bytes], tensor_files: str | None = None) -> None:
    """`small.yaml`, and a folder `source` with these files beside a good `params.json`."""
    names = tensor_files or next(name for name in files if name in (SAFETENSORS, TORCH))
    (folder / "small.yaml").write_text(MAPPING % names)
    source = folder / "source"
    source.mkdir()
    (source / "params.json").write_text(json.dumps({"layers": LAYERS}))
    for name, content in files.items():
        (source / name).write_bytes(content)


def good(name: str) -> bytes:
    """The tensors as a file of this name holds them."""
    return save(tensors()) if name == SAFETENSORS else saved(tensors())


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
