"""A reference of our own, for no release of transformers has a script for GPT-NeoX's checkpoints.

It says what the modules of GPT-NeoX do with their parameters on several ranks. A linear layer is
cut by rows (the ranks' outputs stand beside each other) or by columns (their outputs are summed);
norms are replicas. The bias of one cut by columns is whole on every rank. With parallel residuals
the ranks add theirs before the sum, so the model has the sum of all; else it is added behind the
sum.
"""

from functools import reduce
from operator import add
from pathlib import Path

import torch
import yaml
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

BY_ROWS = ("word_embeddings", "final_linear", "query_key_value", "dense_h_to_4h")


def convert(source, output, vocab):
    said = yaml.safe_load(Path(source, "config.yml").read_text())
    said = {key.replace("-", "_"): value for key, value in said.items() if value is not None}
    layers, ranks = said["num_layers"], said["model_parallel_size"]
    config = configured(said, vocab)

    def state(layer):
        if said["pipe_parallel_size"] > 0:
            names = [f"layer_{layer:02}-model_{rank:02}-model_states.pt" for rank in range(ranks)]
            states = [torch.load(Path(source, name)) for name in names]
        else:
            names = [f"mp_rank_{rank:02}_model_states.pt" for rank in range(ranks)]
            modules = [torch.load(Path(source, name))["module"] for name in names]
            start = f"sequential.{layer}."
            states = [
                {k.removeprefix(start): v for k, v in module.items() if k.startswith(start)}
                for module in modules
            ]
        parallel = config.use_parallel_residual
        return {key: joined(key, [one[key] for one in states], parallel) for key in states[0]}

    tensors = {
        "gpt_neox.embed_in.weight": state(0)["word_embeddings.weight"],
        "gpt_neox.final_layer_norm.weight": state(layers + 3)["norm.weight"],
        "gpt_neox.final_layer_norm.bias": state(layers + 3)["norm.bias"],
        "embed_out.weight": state(layers + 4)["final_linear.weight"],
    }
    for layer in range(layers):
        for key, tensor in state(layer + 2).items():
            tensors[f"gpt_neox.layers.{layer}.{key}"] = tensor
    model = GPTNeoXForCausalLM(config).to(tensors["embed_out.weight"].dtype)
    model.load_state_dict(tensors)
    model.save_pretrained(output)


def configured(said, vocab):
    hidden = said["hidden_size"]
    return GPTNeoXConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=said["num_layers"],
        num_attention_heads=said["num_attention_heads"],
        intermediate_size=said.get("intermediate_size", 4 * hidden),
        hidden_act=said.get("activation", "gelu"),
        rotary_pct=said.get("rotary_pct", 1.0),
        rotary_emb_base=said.get("rotary_emb_base", 10000),
        max_position_embeddings=said["max_position_embeddings"],
        initializer_range=said.get("init_method_std", 0.02),
        layer_norm_eps=said.get("layernorm_epsilon", 1e-5),
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        use_parallel_residual=said.get("gpt_j_residual", False),
        attention_bias=said.get("use_bias_in_attn_linear", True),
    )


def joined(key, tensors, parallel):
    kind = key.split(".")[-2]
    if kind in BY_ROWS:
        return torch.cat(tensors, dim=0)
    if kind.startswith("dense") and key.endswith("weight"):
        return torch.cat(tensors, dim=1)
    total = reduce(add, tensors)
    return total if parallel and kind.startswith("dense") else total / len(tensors)
