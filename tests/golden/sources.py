"""The source checkpoint of a case, in every published layout; the same bits on every machine.

Values come from SHAKE-256 of the tensor's name and are summed as integers, so neither a random
generator nor a rounding of `log` or `cos` can differ between versions of torch or numpy.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from golden.cases import Case

SCRIPT_FILES = 8  # the script reads exactly these

NATIVE_WORDS = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "intermediate_size": "hidden_dim",
    "rms_norm_eps": "norm_eps",
    "vocab_size": "vocab_size",
    "sliding_window": "sliding_window",
}


def normals(name: str, shape: Iterable[int]) -> Tensor:
    """Nearly normal float32 values around 0, deviation 0.14, decided by `name` alone."""
    size = torch.Size(shape)
    stream = hashlib.shake_256(name.encode()).digest(8 * size.numel())
    sums = np.frombuffer(stream, "<u2").reshape(-1, 4).astype(np.int64).sum(axis=1) - 2 * 0xFFFF
    return torch.from_numpy((sums / 2.0**18).astype(np.float32)).reshape(size)


def shapes(params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Key and shape of every tensor in the torrent's keys, one matrix per expert."""
    hidden, ffn, vocab = params["hidden_size"], params["intermediate_size"], params["vocab_size"]
    heads = params["num_attention_heads"]
    kv = hidden // heads * params.get("num_key_value_heads", heads)
    top = {"tok_embeddings": (vocab, hidden), "norm": (hidden,), "output": (vocab, hidden)}
    layer = {
        "attention_norm": (hidden,),
        "attention.wq": (hidden, hidden),
        "attention.wk": (kv, hidden),
        "attention.wv": (kv, hidden),
        "attention.wo": (hidden, hidden),
        "ffn_norm": (hidden,),
        "feed_forward.gate": (params["num_local_experts"], hidden),
    }
    for expert in range(params["num_local_experts"]):
        part = f"feed_forward.experts.{expert}"
        layer |= {f"{part}.w1": (ffn, hidden), f"{part}.w2": (hidden, ffn)}
        layer |= {f"{part}.w3": (ffn, hidden)}
    layers = range(params["num_hidden_layers"])
    every = top | {f"layers.{n}.{name}": shape for n in layers for name, shape in layer.items()}
    return {f"{name}.weight": shape for name, shape in every.items()}


def weights(case: Case) -> dict[str, Tensor]:
    """The logical weights of a case, in the keys of the torrent of December 2023."""

    def tensor(key: str, shape: tuple[int, ...]) -> Tensor:
        offset = 1.0 if key.endswith("norm.weight") else 0.0
        return (normals(f"{case.name}/{key}", shape) + offset).to(getattr(torch, case.dtype))

    return {key: tensor(key, shape) for key, shape in shapes(case.params).items()}


def hub_weights(case: Case) -> dict[str, Tensor]:
    """The same weights as the Hub's release stores them: experts in one matrix, w2 transposed."""
    logical = weights(case)
    hub = {k.replace("feed_forward.gate", "block_sparse_moe.gate"): v for k, v in logical.items()}
    hub = {key: tensor for key, tensor in hub.items() if ".experts." not in key}
    experts = range(case.params["num_local_experts"])
    for layer in range(case.params["num_hidden_layers"]):
        for w in ("w1", "w2", "w3"):
            prefix = f"layers.{layer}.feed_forward.experts"
            parts = [logical[f"{prefix}.{expert}.{w}.weight"] for expert in experts]
            parts = [part.T for part in parts] if w == "w2" else parts
            hub[f"layers.{layer}.block_sparse_moe.{w}"] = torch.cat(parts)
    return hub


def native_params(case: Case) -> dict[str, Any]:
    """The case's params.json in Mistral AI's words, theta stated: there its absence means more."""
    params = case.params
    native = {word: params[key] for key, word in NATIVE_WORDS.items() if key in params}
    heads = params["num_attention_heads"]
    native.setdefault("n_kv_heads", heads)
    native["head_dim"] = params["hidden_size"] // heads
    native["rope_theta"] = params.get("rope_theta", 10000.0)
    native["moe"] = {"num_experts_per_tok": 2, "num_experts": params["num_local_experts"]}
    return native


def write_hub(case: Case, folder: Path) -> None:
    """Eight disjoint files, the layers spread over them, the rest in the first."""
    files: list[dict[str, Tensor]] = [{} for _ in range(SCRIPT_FILES)]
    for key, tensor in hub_weights(case).items():
        parts = key.split(".")
        layer = int(parts[1]) if parts[0] == "layers" else 0
        files[layer * SCRIPT_FILES // case.params["num_hidden_layers"]][key] = tensor
    for number, tensors in enumerate(files):
        torch.save(tensors, folder / f"consolidated.{number:02}.pt")


def write_torrent(case: Case, folder: Path) -> None:
    """One torch file."""
    torch.save(weights(case), folder / "consolidated.00.pth")


def write_safetensors(case: Case, folder: Path) -> None:
    """One safetensors file."""
    save_file(weights(case), folder / "consolidated.safetensors")


def write_sharded(case: Case, folder: Path) -> None:
    """Three safetensors files with an index, the second without a tensor."""
    shards: dict[str, dict[str, Tensor]] = {
        f"consolidated-{number:05}-of-00003.safetensors": {} for number in (1, 2, 3)
    }
    first, _, last = shards
    for position, (key, tensor) in enumerate(weights(case).items()):
        shards[last if position % 2 else first][key] = tensor
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    total = sum(t.nbytes for tensors in shards.values() for t in tensors.values())
    weight_map = {key: name for name, tensors in shards.items() for key in tensors}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "consolidated.safetensors.index.json", index)


LAYOUTS: dict[str, Callable[[Case, Path], None]] = {
    "hub": write_hub,
    "torrent": write_torrent,
    "safetensors": write_safetensors,
    "sharded": write_sharded,
}

FAMILIES: dict[str, Callable[[Case], dict[str, Any]]] = {
    "script": lambda case: case.params,
    "native": native_params,
}


def write_source(case: Case, folder: Path, layout: str = "hub", family: str = "script") -> Path:
    """Writes the case in one layout, with the params.json of one family; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[layout](case, folder)
    write_json(folder / "params.json", FAMILIES[family](case))
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
