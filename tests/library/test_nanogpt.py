"""A nanoGPT checkpoint as training leaves it keeps its logits, and comes back."""

import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm
from transformers import GPT2LMHeadModel

from mapengine import api
from mapengine.errors import PlanError

ARGS = {"n_layer": 2, "n_head": 3, "n_embd": 24, "block_size": 16, "vocab_size": 40, "dropout": 0.1}
TOKENS = torch.tensor([[7, 0, 39, 12, 12, 5, 30, 1]])


def trained(bias):
    """The parameters, the causal masks among them, in nanoGPT's keys."""
    width = ARGS["n_embd"]
    shapes = {"transformer.wte": (ARGS["vocab_size"], width), "transformer.wpe": (16, width)}
    state = {}
    for layer in range(ARGS["n_layer"]):
        block = f"transformer.h.{layer}"
        mask = torch.ones(16, 16).tril().view(1, 1, 16, 16)
        state[f"{block}.attn.bias"] = mask
        shapes |= {f"{block}.ln_1": (width,), f"{block}.ln_2": (width,)}
        shapes |= {
            f"{block}.attn.c_attn": (3 * width, width),
            f"{block}.attn.c_proj": (width, width),
            f"{block}.mlp.c_fc": (4 * width, width),
            f"{block}.mlp.c_proj": (width, 4 * width),
        }
    shapes["transformer.ln_f"] = (width,)
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape)
        if bias and name[-3:] not in ("wte", "wpe"):
            state[f"{name}.bias"] = torch.randn(shape[0])
    state["lm_head.weight"] = state["transformer.wte.weight"]
    return state


def checkpoint(state, bias):
    """What `train.py` saves: an optimizer's moments under numbers, a loss that is a tensor."""
    moments = {
        0: {"step": torch.tensor(9.0), "exp_avg": torch.randn(3), "exp_avg_sq": torch.ones(3)}
    }
    groups = [{"lr": 6e-4, "betas": (0.9, 0.95), "weight_decay": 0.1, "params": [0]}]
    return {
        "model": state,
        "optimizer": {"state": moments, "param_groups": groups},
        "model_args": {**ARGS, "bias": bias},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(3.3),
        "config": {"dataset": "openwebtext", "learning_rate": 6e-4, "compile": True},
    }


def logits(state, tokens):
    """GPT-2's forward pass, from its description, on nanoGPT's tensors."""

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state.get(f"{name}.bias"))

    def heads(x):
        return x.unflatten(-1, (ARGS["n_head"], -1)).transpose(-2, -3)

    length = tokens.shape[-1]
    future = torch.full((length, length), -math.inf).triu(1)
    x = state["transformer.wte.weight"][tokens] + state["transformer.wpe.weight"][:length]
    for layer in range(ARGS["n_layer"]):
        block = f"transformer.h.{layer}"
        qkv = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
        q, k, v = map(heads, qkv.chunk(3, dim=-1))
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + future
        seen = (scores.softmax(-1) @ v).transpose(-2, -3).flatten(-2)
        x = x + linear(seen, f"{block}.attn.c_proj")
        inner = gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"))
        x = x + linear(inner, f"{block}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ state["lm_head.weight"].T


@pytest.mark.parametrize("prefix", ["", "_orig_mod."], ids=["plain", "compiled"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_training_checkpoint_gives_the_same_logits_and_comes_back(bias, prefix, tmp_path):
    torch.manual_seed(5)
    state = trained(bias)
    source = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    (tmp_path / "source").mkdir()
    torch.save(checkpoint(source, bias), tmp_path / "source" / "ckpt.pt")
    api.run(api.Job("nanogpt", tmp_path / "source"), tmp_path / "there", sync=False)

    model = GPT2LMHeadModel.from_pretrained(tmp_path / "there").eval()
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).logits, logits(state, TOKENS))

    layout = "compiled" if prefix else "plain"
    back = api.Job("nanogpt", tmp_path / "there", {"bias": bias}, reverse=True, layout=layout)
    api.run(back, tmp_path / "back", sync=False)
    came = torch.load(tmp_path / "back" / "ckpt.pt", weights_only=True)
    assert came["model_args"] == {**ARGS, "bias": bias}
    wanted = {key: tensor for key, tensor in source.items() if not key.endswith(".attn.bias")}
    assert came["model"].keys() == wanted.keys()
    assert all(torch.equal(came["model"][key], wanted[key]) for key in wanted)


def test_another_activation_than_nanogpts_own_is_refused_until_it_is_set(tmp_path):
    (tmp_path / "source").mkdir()
    torch.save(checkpoint(trained(bias=True), bias=True), tmp_path / "source" / "ckpt.pt")
    old = {"act": "gelu_new"}
    api.run(api.Job("nanogpt", tmp_path / "source", old), tmp_path / "there", sync=False)
    assert (
        GPT2LMHeadModel.from_pretrained(tmp_path / "there").config.activation_function == "gelu_new"
    )
    with pytest.raises(
        PlanError, match='activation_function is "gelu_new", where "gelu" is wanted'
    ):
        api.plan(api.Job("nanogpt", tmp_path / "there", reverse=True))
    api.plan(api.Job("nanogpt", tmp_path / "there", old, reverse=True))
