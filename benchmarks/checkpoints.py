"""Checkpoints to measure on: real random bfloat16 in the layout of the Hub's first Mixtral.

Made by numpy and the standard library alone but for the files themselves, which `torch.save`
writes, as the originals were.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FILES = 8
SHAPES = {"heads": 32, "kv_heads": 8, "experts": 8, "vocab": 32000}


def params_for(size: int) -> dict[str, Any]:
    """Script-family params of a Mixtral of about `size` bytes, its proportions kept."""
    hidden, ffn = (2048, 7168) if size < 20e9 else (4096, 14336)
    per_layer = 2 * (SHAPES["experts"] * 3 * hidden * ffn + 2 * hidden * hidden * 5 // 4)
    layers = max(round((size - 4 * SHAPES["vocab"] * hidden) / per_layer), 1)
    return {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": SHAPES["heads"],
        "num_key_value_heads": SHAPES["kv_heads"],
        "num_local_experts": SHAPES["experts"],
        "rms_norm_eps": 1e-5,
        "vocab_size": SHAPES["vocab"],
    }


def write_hub_layout(folder: Path, size: int) -> int:
    """Writes a layout-B checkpoint of about `size` bytes in 8 files; returns its bytes."""
    import torch

    folder.mkdir(parents=True)
    params = params_for(size)
    (folder / "params.json").write_text(json.dumps(params, indent=2))
    rng = np.random.default_rng(0)
    hidden, layers = params["hidden_size"], params["num_hidden_layers"]

    def random(*shape: int) -> torch.Tensor:
        raw = rng.integers(0, 2**16, size=shape, dtype=np.uint16) & 0xBFFF | 0x3000
        return torch.from_numpy(raw.view(np.int16)).view(torch.bfloat16)

    for number in range(FILES):
        state = {}
        if number == 0:
            state["tok_embeddings.weight"] = random(params["vocab_size"], hidden)
            state["norm.weight"] = random(hidden)
            state["output.weight"] = random(params["vocab_size"], hidden)
        for layer in range(number * layers // FILES, (number + 1) * layers // FILES):
            state |= _layer(params, f"layers.{layer}.", random)
        torch.save(state, folder / f"consolidated.{number:02}.pt")
    return sum(path.stat().st_size for path in folder.iterdir())


def _layer(params: dict[str, Any], prefix: str, random: Any) -> dict[str, Any]:
    hidden, experts = params["hidden_size"], params["num_local_experts"]
    kv = hidden // params["num_attention_heads"] * params["num_key_value_heads"]
    rows = experts * params["intermediate_size"]
    shapes = {
        "attention.wq.weight": (hidden, hidden),
        "attention.wk.weight": (kv, hidden),
        "attention.wv.weight": (kv, hidden),
        "attention.wo.weight": (hidden, hidden),
        "attention_norm.weight": (hidden,),
        "ffn_norm.weight": (hidden,),
        "block_sparse_moe.gate.weight": (experts, hidden),
        "block_sparse_moe.w1": (rows, hidden),
        "block_sparse_moe.w2": (rows, hidden),
        "block_sparse_moe.w3": (rows, hidden),
    }
    return {prefix + key: random(*shape) for key, shape in shapes.items()}
