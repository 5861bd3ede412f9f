"""Checkpoints to measure on: random bfloat16 in the three layouts Mixtral was published in.

torch.save and the safetensors library write them, as they wrote the originals. Equal models give
equal tensors in every layout.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

HUB_FILES = 8
LAYOUTS = {
    "A": "one torch file, a matrix per expert",
    "B": "8 torch files, experts fused",
    "C": "safetensors, a matrix per expert",
}
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Model:
    """The sizes of a Mixtral."""

    hidden: int
    ffn: int
    layers: int
    heads: int = 32
    kv_heads: int = 8
    experts: int = 8
    vocab: int = 32000

    @property
    def layer(self) -> Shapes:
        """A layer's tensors, a matrix per expert."""
        kv = self.hidden // self.heads * self.kv_heads
        shapes: Shapes = {
            "attention_norm.weight": (self.hidden,),
            "ffn_norm.weight": (self.hidden,),
            "attention.wq.weight": (self.hidden, self.hidden),
            "attention.wk.weight": (kv, self.hidden),
            "attention.wv.weight": (kv, self.hidden),
            "attention.wo.weight": (self.hidden, self.hidden),
            "feed_forward.gate.weight": (self.experts, self.hidden),
        }
        for expert in range(self.experts):
            for w in ("w1", "w3", "w2"):
                shape = (self.hidden, self.ffn) if w == "w2" else (self.ffn, self.hidden)
                shapes[f"feed_forward.experts.{expert}.{w}.weight"] = shape
        return shapes

    @property
    def hub_layer(self) -> Shapes:
        """A layer's tensors, all experts of it in one matrix."""
        every = {k: s for k, s in self.layer.items() if ".experts." not in k}
        every["block_sparse_moe.gate.weight"] = every.pop("feed_forward.gate.weight")
        fused = (self.experts * self.ffn, self.hidden)
        return every | {f"block_sparse_moe.{w}": fused for w in ("w1", "w2", "w3")}

    @property
    def ends(self) -> Shapes:
        return {
            "tok_embeddings.weight": (self.vocab, self.hidden),
            "norm.weight": (self.hidden,),
            "output.weight": (self.vocab, self.hidden),
        }

    def shapes(self, layout: str = "C") -> Shapes:
        """Every tensor, by key."""
        layer = self.hub_layer if layout == "B" else self.layer
        inner = {f"layers.{n}.{k}": s for n in range(self.layers) for k, s in layer.items()}
        return self.ends | inner

    @property
    def nbytes(self) -> int:
        layer, ends = (sum(map(math.prod, part.values())) for part in (self.layer, self.ends))
        return 2 * (self.layers * layer + ends)

    def params(self, layout: str) -> dict[str, Any]:
        """params.json: in the words of transformers' script for B, Mistral AI's for the others."""
        shared = {"vocab_size": self.vocab}
        if layout == "B":
            return shared | {
                "hidden_size": self.hidden, "intermediate_size": self.ffn,
                "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads, "num_local_experts": self.experts,
                "rms_norm_eps": 1e-5,
            }  # fmt: skip
        return shared | {
            "dim": self.hidden, "hidden_dim": self.ffn, "n_layers": self.layers,
            "n_heads": self.heads, "n_kv_heads": self.kv_heads, "norm_eps": 1e-5,
            "head_dim": self.hidden // self.heads,
            "moe": {"num_experts": self.experts, "num_experts_per_tok": 2},
        }  # fmt: skip


def model_of(size: int, narrowest: int = 512) -> Model:
    """A Mixtral of about `size` bytes in the proportions of 8x7B; from 20 GB on in its widths."""
    steps = ((20e9, 4096), (3e9, 2048), (8e8, 1024), (0, 512))
    hidden = max(next(width for least, width in steps if size >= least), narrowest)
    one, two = (Model(hidden, hidden * 7 // 2, layers).nbytes for layers in (1, 2))
    return Model(hidden, hidden * 7 // 2, 1 + max(round((size - one) / (two - one)), 0))


def write(model: Model, layout: str, folder: Path) -> Path:
    """Writes the checkpoint with its params.json; returns the folder."""
    folder.mkdir(parents=True)
    write_params(model, layout, folder)
    WRITERS[layout](model, folder)
    return folder


def write_params(model: Model, layout: str, folder: Path) -> None:
    (folder / "params.json").write_text(json.dumps(model.params(layout), indent=2))


def random(key: str, shape: tuple[int, ...]) -> Tensor:
    """bfloat16 that its key decides; of either sign, neither tiny nor 2 or more."""
    import torch

    raw = np.random.default_rng(zlib.crc32(key.encode())).integers(0, 2**16, shape, np.uint16)
    raw &= 0xBFFF
    raw |= 0x3000
    return torch.from_numpy(raw.view(np.int16)).view(torch.bfloat16)


def hub_files(shapes: Shapes, layers: int) -> Iterator[tuple[str, Shapes]]:
    """The eight files and what is in each: consecutive layers, and in the first all else."""
    files: list[Shapes] = [{} for _ in range(HUB_FILES)]
    for key, shape in shapes.items():
        layer = int(key.split(".")[1]) if key.startswith("layers.") else 0
        files[layer * HUB_FILES // layers][key] = shape
    for number, held in enumerate(files):
        yield f"consolidated.{number:02}.pt", held


def _write_torrent(model: Model, folder: Path) -> None:
    import torch

    state = {key: random(key, shape) for key, shape in model.shapes().items()}
    torch.save(state, folder / "consolidated.00.pth")


def _write_hub(model: Model, folder: Path) -> None:
    import torch

    for name, shapes in hub_files(model.shapes("B"), model.layers):
        torch.save({k: _hub_tensor(k, s, model) for k, s in shapes.items()}, folder / name)


def _write_safetensors(model: Model, folder: Path) -> None:
    from safetensors.torch import save_file

    state = {key: random(key, shape) for key, shape in model.shapes().items()}
    save_file(state, folder / "consolidated.safetensors")


def _hub_tensor(key: str, shape: tuple[int, ...], model: Model) -> Tensor:
    """A fused matrix is the experts' one above the other, w2's transposed."""
    import torch

    prefix, dot, w = key.partition(".block_sparse_moe.")
    if not dot:
        return random(key, shape)
    if w == "gate.weight":
        return random(f"{prefix}.feed_forward.{w}", shape)
    fused = torch.empty(shape, dtype=torch.bfloat16)
    for expert, rows in enumerate(fused.chunk(model.experts)):
        name = f"{prefix}.feed_forward.experts.{expert}.{w}.weight"
        one = random(name, (model.hidden, model.ffn) if w == "w2" else (model.ffn, model.hidden))
        rows.copy_(one.T if w == "w2" else one)
    return fused


WRITERS: dict[str, Callable[[Model, Path], None]] = {
    "A": _write_torrent,
    "B": _write_hub,
    "C": _write_safetensors,
}
