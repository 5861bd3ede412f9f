"""Mixtral's forward pass, written from its published description, on the *source* tensors.

It shares nothing with transformers, so a converted model that gives the same logits was converted
rightly. Plain float32, every expert computed for every token: for tiny models.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softmax


def logits(tensors: Mapping[str, Tensor], params: Mapping[str, Any], tokens: Tensor) -> Tensor:
    """Logits [..., length, vocab] of tokens [..., length]; keys and params in native words."""
    weights = {key: tensor.float() for key, tensor in tensors.items()}
    mask = attention_mask(tokens.shape[-1], params.get("sliding_window"))
    hidden = weights["tok_embeddings.weight"][tokens]
    for layer in range(params["n_layers"]):
        start = f"layers.{layer}."
        inner = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        normal = rms_norm(hidden, inner["attention_norm.weight"], params["norm_eps"])
        hidden = hidden + attention(normal, inner, params, mask)
        normal = rms_norm(hidden, inner["ffn_norm.weight"], params["norm_eps"])
        hidden = hidden + mixture(normal, inner, params["moe"]["num_experts_per_tok"])
    hidden = rms_norm(hidden, weights["norm.weight"], params["norm_eps"])
    return hidden @ weights["output.weight"].T


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def attention_mask(length: int, window: int | str | None) -> Tensor:
    """True where row may see column: itself and what lies before, `window` tokens in all."""
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return (distance >= 0) & (distance < (length if window is None else int(window)))


def rotate(x: Tensor, theta: float) -> Tensor:
    """Turns the pair (2i, 2i+1) of each head at position p by p * theta^(-2i / head_dim)."""
    length, head_dim = x.shape[-2:]
    speeds = theta ** -(torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.arange(length)[:, None] * speeds
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (
        even * angles.cos() - odd * angles.sin(),
        even * angles.sin() + odd * angles.cos(),
    )
    return torch.stack(turned, dim=-1).flatten(-2)


def attention(
    x: Tensor, weights: Mapping[str, Tensor], params: Mapping[str, Any], mask: Tensor
) -> Tensor:
    """Query head h attends with key and value head h // (n_heads / n_kv_heads)."""

    def project(name: str) -> Tensor:
        heads = (x @ weights[f"attention.{name}.weight"].T).unflatten(-1, (-1, params["head_dim"]))
        return heads.transpose(-3, -2)

    group = params["n_heads"] // params["n_kv_heads"]
    query = rotate(project("wq"), params["rope_theta"])
    key = rotate(project("wk"), params["rope_theta"]).repeat_interleave(group, dim=-3)
    value = project("wv").repeat_interleave(group, dim=-3)
    scores = query @ key.transpose(-2, -1) / params["head_dim"] ** 0.5
    seen = softmax(scores.masked_fill(~mask, float("-inf")), dim=-1) @ value
    return seen.transpose(-3, -2).flatten(-2) @ weights["attention.wo.weight"].T


def mixture(x: Tensor, weights: Mapping[str, Tensor], top: int) -> Tensor:
    """The `top` experts with the highest gate, weighed by the softmax over those gates alone."""
    gates = x @ weights["feed_forward.gate.weight"].T
    best, chosen = gates.topk(top, dim=-1)
    shares = torch.zeros_like(gates).scatter(-1, chosen, softmax(best, dim=-1))
    experts = [swiglu(x, weights, f"feed_forward.experts.{n}") for n in range(gates.shape[-1])]
    return (torch.stack(experts, dim=-1) * shares[..., None, :]).sum(-1)


def swiglu(x: Tensor, weights: Mapping[str, Tensor], expert: str) -> Tensor:
    w1, w2, w3 = (weights[f"{expert}.{name}.weight"] for name in ("w1", "w2", "w3"))
    return (silu(x @ w1.T) * (x @ w3.T)) @ w2.T
