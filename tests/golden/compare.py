"""What differs between a converted folder and what the official script made of the same source."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

DIGESTS = Path(__file__).parent / "digests"

# Who wrote the file and where it lies: the two fields in which equal configs may differ.
IGNORED = frozenset({"transformers_version", "_name_or_path"})


def recorded(case: str) -> dict[str, Any]:
    """The record of a case, as `regenerate.py` wrote it."""
    record: dict[str, Any] = json.loads((DIGESTS / f"{case}.json").read_text(encoding="utf-8"))
    return record


def digest(tensor: Tensor) -> str:
    """Dtype, shape and the SHA-256 of the raw little-endian bytes: `bfloat16 32x96 0f3a...`."""
    raw = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = "x".join(map(str, tensor.shape))
    return f"{dtype} {shape} {hashlib.sha256(raw).hexdigest()}"


def digest_of_all(tensors: Mapping[str, Tensor]) -> str:
    """One SHA-256 over keys and digests, whatever their order."""
    lines = [f"{key} {digest(tensors[key])}\n" for key in sorted(tensors)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Key to digest of every tensor in the folder's tensor files; an index must agree."""
    digests: dict[str, str] = {}
    places: dict[str, str] = {}
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        for key, one in _digests_in(path):
            if key in places:
                raise ValueError(f"{folder}: {key} is in {places[key]} and in {path.name}")
            places[key] = path.name
            digests[key] = one
    for path in [*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json")]:
        if json.loads(path.read_text(encoding="utf-8"))["weight_map"] != places:
            raise ValueError(f"{path}: the weight map is not what the files hold")
    return digests


def _digests_in(path: Path) -> Iterator[tuple[str, str]]:
    """Key and digest of every tensor of one file."""
    if path.suffix == ".bin":
        state = torch.load(path, weights_only=True)
        yield from ((key, digest(tensor)) for key, tensor in state.items())
        return
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - a safe_open is not a mapping
            yield key, digest(file.get_tensor(key))


def as_loaded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a config.json as the installed transformers' AutoConfig understands it."""
    from transformers import AutoConfig  # costs seconds; those who compare tensors need not wait

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        loaded: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    return loaded


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line per key that is missing, surplus or other; 1, 1.0 and true are three values."""
    lines = []
    for key in sorted((found.keys() | wanted.keys()) - IGNORED):
        have, want = (
            json.dumps(side[key], sort_keys=True) if key in side else "nothing"
            for side in (found, wanted)
        )
        if have != want:
            lines.append(f"{key}: wanted {want}, found {have}")
    return lines


def tensor_differences(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Where the folder's tensors are not, bit for bit, the script's."""
    return differences(digests_of(folder), record["tensors"])


def file_differences(folder: Path, record: Mapping[str, Any], name: str = "config") -> list[str]:
    """Where `config` or `generation_config` is, as a file, not the script's.

    A config.json equal to the script's loads equal under every version of transformers, also the
    one that is not installed.
    """
    return differences(read_json(folder / f"{name}.json"), record[name])


def config_differences(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Where config.json loads, under the installed transformers, other than the script's does."""
    return differences(as_loaded(read_json(folder / "config.json")), as_loaded(record["config"]))


def read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
