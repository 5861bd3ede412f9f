"""Small checkpoints as text: what `source.yaml` and `expected.yaml` of a case folder describe.

A tensor is `float32 [2, 3] from 10`, which counts 10, 11, 12, ... in row-major order, or
`{dtype: float32, values: [...]}`. In a torch file a `/` in a key steps into a nested dict,
`{namespace: {...}}` is an `argparse.Namespace`, and anything else is a plain value.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

TORCH = {".pt", ".pth", ".bin"}
_COUNTING = re.compile(r"(\w+) \[([\d, ]*)\](?: from (\d+))?")


def tensor_of(text: Any) -> torch.Tensor | None:
    """The tensor a description means; None for what describes none."""
    if isinstance(text, dict) and text.keys() == {"dtype", "values"}:
        return torch.tensor(text["values"], dtype=getattr(torch, text["dtype"]))
    found = _COUNTING.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    shape = torch.Size(int(n) for n in found[2].split(",") if n.strip())
    start = int(found[3] or 0)
    return torch.arange(start, start + shape.numel()).reshape(shape).to(getattr(torch, found[1]))


def _value_of(described: Any) -> Any:
    if isinstance(described, dict) and described.keys() == {"namespace"}:
        return argparse.Namespace(**described["namespace"])
    tensor = tensor_of(described)
    return described if tensor is None else tensor


def write_checkpoint(files: dict[str, Any], folder: Path) -> None:
    """Writes every described file into a new folder."""
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        if path.suffix == ".safetensors":
            save_file({key: _value_of(one) for key, one in content.items()}, path)
        elif path.suffix in TORCH:
            torch.save(_nested(content), path)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_text(json.dumps(content), encoding="utf-8")


def _nested(content: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for key, described in content.items():
        *steps, last = key.split("/")
        inner = state
        for step in steps:
            inner = inner.setdefault(step, {})
        inner[last] = _value_of(described)
    return state


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Every file of a folder: tensors by key, JSON as values, other files as text."""
    return {path.name: _read(path) for path in sorted(folder.iterdir())}


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix in TORCH:
        return dict(_flat(torch.load(path, weights_only=True)))
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


def _flat(state: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in state.items():
        pairs += _flat(value, f"{prefix}{key}/") if isinstance(value, dict) else []
        pairs += [] if isinstance(value, dict) else [(prefix + key, value)]
    return pairs


def plain(content: Any) -> Any:
    """Tensors as dtype, shape and values, so that whole files compare and print."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, torch.Tensor):
        return f"{str(content.dtype)[6:]} {list(content.shape)}: {content.tolist()}"
    return content


def described(content: Any) -> Any:
    """The same of a description."""
    tensor = tensor_of(content)
    if tensor is not None:
        return plain(tensor)
    if isinstance(content, dict):
        return {key: described(value) for key, value in content.items()}
    return content


def changed(content: Any, change: Any) -> Any:
    """`content` with what `change` says differently; `absent` takes a key away."""
    if not (isinstance(content, dict) and isinstance(change, dict)):
        return change
    merged = {key: value for key, value in content.items() if change.get(key) != "absent"}
    for key, value in change.items():
        if value != "absent":
            merged[key] = changed(content[key], value) if key in content else value
    return merged
