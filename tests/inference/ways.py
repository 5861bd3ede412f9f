"""What converters do to tensors, written out in torch: a source and a target of each."""

import json

import torch
from safetensors.torch import save_file

HEADS, KV, SIZE, HIDDEN, FFN, EXPERTS, LAYERS = 6, 2, 16, 40, 56, 5, 3
CONFIG = {
    "n_heads": HEADS, "n_kv_heads": KV, "head_dim": SIZE, "dim": HIDDEN, "hidden_dim": FFN,
    "n_layers": LAYERS, "num_experts": EXPERTS,
}  # fmt: skip
WRITTEN = {
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": SIZE,
    "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
    "num_experts": EXPERTS, "hidden_act": "silu",
}  # fmt: skip


def checkpoint(folder, config_name, config, tensors):
    folder.mkdir()
    (folder / config_name).write_text(json.dumps(config))
    contiguous = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    save_file(contiguous, folder / "model.safetensors", {"format": "pt"})
    return folder


def noise(*shape, dtype=torch.bfloat16):
    return torch.randn(shape).to(dtype)


def rope(tensor, heads, turned=None):
    """The rows of each head from pairs to halves, written out row by row."""
    rows = tensor.unflatten(0, (heads, -1))
    turned = turned or rows.shape[1]
    order = [*range(0, turned, 2), *range(1, turned, 2), *range(turned, rows.shape[1])]
    return rows[:, order].flatten(0, 1)


def grouped(q, k, v):
    """The queries of each group, its key, its value, and then the next group's."""
    apart = [part.unflatten(0, (KV, -1)) for part in (q, k, v)]
    return torch.cat(apart, 1).flatten(0, 1)


def one_layer(make):
    """The tensors of every layer by what `make` does with a fresh one."""
    source, target = {}, {}
    for layer in range(LAYERS):
        ours, theirs = make()
        source |= {f"layers.{layer}.{key}": tensor for key, tensor in ours.items()}
        target |= {f"model.layers.{layer}.{key}": tensor for key, tensor in theirs.items()}
    return source, target


def transposed():
    w = noise(HIDDEN, FFN)
    return {"w": w}, {"up.weight": w.T}


def turned():
    q, k = noise(HEADS * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN)
    return {"wq": q, "wk": k}, {"q.weight": rope(q, HEADS), "k.weight": rope(k, KV)}


def turned_back():
    q = noise(HEADS * SIZE, HIDDEN)
    return {"wq": rope(q, HEADS)}, {"q.weight": q}


def partly_turned():
    q = noise(HEADS * SIZE, HIDDEN)
    return {"wq": q}, {"q.weight": rope(q, HEADS, 4)}


def turned_bias():
    q = noise(HEADS * SIZE)
    return {"wq.bias": q}, {"q.bias": rope(q, HEADS)}


def uneven():
    q, k, v = noise(HEADS * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN)
    return {"qkv": torch.cat([q, k, v])}, {"q.weight": q, "k.weight": k, "v.weight": v}


def in_groups():
    q, k, v = noise(HEADS * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN)
    return {"wq": q, "wk": k, "wv": v}, {"qkv.weight": grouped(q, k, v)}


def parted(qkv):
    """The queries, keys and values of a tensor that has them head by head."""
    return [part.flatten(0, 1) for part in qkv.unflatten(0, (HEADS, 3, SIZE)).unbind(1)]


def by_head(bias=None):
    qkv = noise(HEADS * 3 * SIZE, HIDDEN)
    bias = noise(HEADS * 3 * SIZE) if bias is None else bias
    target = {f"{n}.weight": part for n, part in zip("qkv", parted(qkv), strict=True)}
    target |= {f"{n}.bias": part for n, part in zip("qkv", parted(bias), strict=True)}
    return {"qkv.weight": qkv, "qkv.bias": bias}, target


def by_head_without_bias():
    return by_head(torch.zeros(HEADS * 3 * SIZE, dtype=torch.bfloat16))


def one_more():
    w = noise(HIDDEN)
    return {"norm.weight": w}, {"input_norm.weight": w + 1}


def half():
    w = noise(FFN, HIDDEN)
    return {"w": w}, {"up.weight": w * 0.5}


def made_of_nothing():
    ours, theirs = transposed()
    mask = torch.ones(1, 7, 7, dtype=torch.bool).tril()
    return ours, theirs | {"mask": mask, "up.bias": torch.zeros(FFN), "ids": torch.arange(9)}


def columns():
    w = noise(HIDDEN, 2 * FFN)
    gate, up = w.chunk(2, 1)
    return {"w": w}, {"up.weight": up, "gate.weight": gate}


def biases():
    q, k, v = noise(HEADS * SIZE), noise(KV * SIZE), noise(KV * SIZE)
    return {"q.bias": q, "k.bias": k, "v.bias": v}, {"qkv.bias": torch.cat([q, k, v])}


def stacked():
    experts = [noise(FFN, HIDDEN) for _ in range(EXPERTS)]
    ours = {f"experts.{n}.w2": one.T for n, one in enumerate(experts)}
    return ours, {"experts.down": torch.stack(experts)}


def fused_experts():
    gates, ups = ([noise(FFN, HIDDEN) for _ in range(EXPERTS)] for _ in range(2))
    ours = {f"experts.{n}.w1": one for n, one in enumerate(gates)}
    ours |= {f"experts.{n}.w3": one for n, one in enumerate(ups)}
    pairs = zip(gates, ups, strict=True)
    return ours, {"experts.gate_up": torch.stack([torch.cat(pair) for pair in pairs])}


def interleaved():
    gate, up = noise(FFN, HIDDEN), noise(FFN, HIDDEN)
    return {"w1": gate, "w3": up}, {"gate_up.weight": torch.stack([gate, up], 1).flatten(0, 1)}


def cut_and_turned():
    experts = noise(EXPERTS * FFN, HIDDEN)
    parts = experts.unflatten(0, (EXPERTS, FFN)).unbind()
    return {"w2": experts}, {f"experts.{n}.down": part.T for n, part in enumerate(parts)}


def four_axes():
    w = noise(HIDDEN, 3, 7, 5)
    return {"conv": w}, {"conv.weight": w.permute(3, 2, 1, 0)}


def reshaped():
    w = noise(HIDDEN, 3, 7, 1)
    return {"conv": w}, {"conv.weight": w.flatten(1)}


def regrouped():
    """The queries, keys and values as they are, to those of each group together."""
    q, k, v = noise(HEADS * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN), noise(KV * SIZE, HIDDEN)
    return {"qkv": torch.cat([q, k, v])}, {"qkv.weight": grouped(q, k, v)}


def ungrouped():
    ours, theirs = regrouped()
    return {"qkv": theirs["qkv.weight"]}, {"qkv.weight": ours["qkv"]}


def of_eight_bits():
    """A weight of eight bits with a scale for every 16 rows and columns, to what it stands for."""
    weight = torch.randn(FFN, HIDDEN).to(torch.float8_e4m3fn)
    scale = torch.rand(-(-FFN // 16), -(-HIDDEN // 16)) + 0.5
    whole = scale.repeat_interleave(16, 0)[:FFN].repeat_interleave(16, 1)[:, :HIDDEN]
    numbers = (weight.float() * whole).bfloat16()
    return {"w": weight, "w_scale_inv": scale}, {"up.weight": numbers.T}


def ranks(folder, parts):
    """A file of torch for each rank, which holds its part of every tensor."""
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(CONFIG))
    for rank, part in enumerate(parts):
        torch.save(part, folder / f"consolidated.{rank:02}.pth")
    return folder
