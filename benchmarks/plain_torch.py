"""What one would write by hand: load, transform, save_file, in shards of 5 GB. Syncs nothing.

python plain_torch.py SOURCE OUTPUT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SHARD = 5 * 10**9
TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
}


def main(source: Path, output: Path) -> None:
    params = json.loads((source / "params.json").read_text())
    output.mkdir()
    shards: list[dict[str, str]] = []
    held: dict[str, Tensor] = {}
    size = 0
    for key, tensor in converted(source, params):
        if size + tensor.nbytes > SHARD:
            shards.append(save(held, output, len(shards)))
            held, size = {}, 0
        held[key] = tensor
        size += tensor.nbytes
    shards.append(save(held, output, len(shards)))
    publish(shards, output)


def save(held: dict[str, Tensor], output: Path, number: int) -> dict[str, str]:
    save_file(held, output / f"part-{number}", metadata={"format": "pt"})
    return dict.fromkeys(held, f"part-{number}")


def publish(shards: list[dict[str, str]], output: Path) -> None:
    """Gives the shards the names that transformers looks for, and writes their index."""
    weight_map: dict[str, str] = {}
    for number, held in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        name = name if len(shards) > 1 else "model.safetensors"
        (output / f"part-{number - 1}").rename(output / name)
        weight_map |= dict.fromkeys(held, name)
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (output / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def loaded(source: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(source.glob("consolidated*")):
        if path.suffix == ".safetensors":
            yield from load_file(path).items()
        elif path.suffix in (".pt", ".pth"):
            yield from torch.load(path, mmap=True, weights_only=True).items()


def converted(source: Path, params: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    heads = params.get("n_heads") or params["num_attention_heads"]
    kv_heads = params.get("n_kv_heads") or params["num_key_value_heads"]
    experts = params["moe"]["num_experts"] if "moe" in params else params["num_local_experts"]
    for key, tensor in loaded(source):
        if key in TOP:
            yield TOP[key], tensor
            continue
        _, layer, rest = key.split(".", 2)
        prefix, name = f"model.layers.{layer}.", rest.removesuffix(".weight")
        if name in LAYER:
            turned = {"attention.wq": heads, "attention.wk": kv_heads}.get(name)
            yield f"{prefix}{LAYER[name]}.weight", permuted(tensor, turned) if turned else tensor
        elif rest.startswith("feed_forward."):
            yield prefix + rest.replace("feed_forward.", "block_sparse_moe."), tensor
        elif rest == "block_sparse_moe.gate.weight":
            yield prefix + rest, tensor
        else:
            moe, w = rest.split(".")
            for expert, part in enumerate(tensor.chunk(experts)):
                matrix = part.T.contiguous() if w == "w2" else part
                yield f"{prefix}{moe}.experts.{expert}.{w}.weight", matrix


def permuted(tensor: Tensor, heads: int) -> Tensor:
    """Rotary halves instead of pairs."""
    rows, columns = tensor.shape
    pairs = tensor.view(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
