"""What is on record of the official scripts' outputs, and how folders are compared with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from golden import compare
from safetensors.torch import load_file
from torch import Tensor

from mapengine.specs import CONFIG_SUFFIXES

DIGESTS = Path(__file__).parent / "digests"
TORCH = (".pt", ".pth", ".bin", ".ckpt")


def recorded(mapping: str) -> dict[str, Any]:
    """The records of a mapping's cases, by name."""
    text = (DIGESTS / f"{mapping}.json").read_text(encoding="utf-8")
    cases: dict[str, Any] = json.loads(text)["cases"]
    return cases


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder by file and key, whatever the format; nested keys with slashes."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found |= {f"{path.name}:{key}": one for key, one in load_file(path).items()}
        elif path.suffix in TORCH:
            state = torch.load(path, weights_only=True)
            found |= {f"{path.name}:{key}": one for key, one in _flat(state)}
    return found


def _flat(state: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Tensor]]:
    flat: list[tuple[str, Tensor]] = []
    for key, value in state.items():
        if isinstance(value, Tensor):
            flat.append((prefix + key, value))
        elif isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{key}/")
    return flat


def values_of(folder: Path) -> dict[str, Any]:
    """The plain values beside the tensors, by torch file."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in TORCH and (values := _plain(torch.load(path, weights_only=True))):
            found[path.name] = values
    return found


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            if inner := _plain(value):
                plain[key] = inner
        elif not isinstance(value, Tensor):
            plain[key] = value
    return plain


def digest_of_source(folder: Path) -> str:
    """One SHA-256 over all tensors and configs of a source."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in CONFIG_SUFFIXES)
    configs = "".join(path.read_text() for path in paths)
    if values := values_of(folder):
        configs += json.dumps(values, sort_keys=True)
    return compare.digest_of_all(
        tensors_of(folder) | {"configs": torch.tensor(list(configs.encode()), dtype=torch.uint8)}
    )
