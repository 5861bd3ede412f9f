import json
from pathlib import Path

import torch
from safetensors.torch import save_file

PLAIN = {
    "attention.w_q": "self_attn.q_proj",
    "attention.w_k": "self_attn.k_proj",
    "attention.w_v": "self_attn.v_proj",
    "attention.w_out": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "attention_norm": "post_attention_layernorm",
    "feed_forward_norm": "post_feedforward_layernorm",
}


def convert(source, output, eos, pad):
    """No script runs here: this version of transformers has no such class.

    Written from how OLMo-core's experts compute, `silu(x @ w1) * (x @ w3) @ w2` and, where they are
    dropless, `silu(x @ w1.T) * (x @ w3.T) @ w2`. Of the former OLMo-core's own conversion (3.0.0)
    makes the same; the latter it turns the wrong way.
    """
    model = json.loads(Path(source, "config.json").read_text())["model"]
    state = torch.load(Path(source, "model.pt"))
    target = {
        "model.embed_tokens.weight": state["embeddings.weight"],
        "model.norm.weight": state["lm_head.norm.weight"],
        "lm_head.weight": state["lm_head.w_out.weight"],
    }
    moe = model["block"]["feed_forward_moe"]
    for layer in range(model["n_layers"]):
        own, other = f"blocks.{layer}.", f"model.layers.{layer}."
        for name, called in PLAIN.items():
            target[f"{other}{called}.weight"] = state[f"{own}{name}.weight"]
        router = state[own + "feed_forward_moe.router.weight"]
        target[other + "mlp.gate.weight"] = router.view(moe["num_experts"], model["d_model"])
        for name, called in {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}.items():
            whole = state[f"{own}feed_forward_moe.experts.mlp.{name}"]
            straight = moe["name"] == "dropless" and name != "w2"
            for expert, one in enumerate(whole.view(moe["num_experts"], -1, whole.shape[1])):
                key = f"{other}mlp.experts.{expert}.{called}.weight"
                target[key] = (one if straight else one.T).contiguous()
    Path(output).mkdir()
    save_file(target, Path(output, "model.safetensors"), {"format": "pt"})
    config = configured(model, moe, eos, pad)
    Path(output, "config.json").write_text(json.dumps(config))


def configured(model, moe, eos, pad):
    block = model["block"]
    mixer = block.get("sequence_mixer") or block["attention"]
    return {
        "architectures": ["FlexOlmoForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "eos_token_id": eos,
        "hidden_act": "silu",
        "hidden_size": model["d_model"],
        "initializer_range": 0.02,
        "intermediate_size": moe["hidden_size"],
        "max_position_embeddings": 4096,
        "model_type": "flex_olmo",
        "norm_topk_prob": False,
        "num_attention_heads": mixer["n_heads"],
        "num_experts": moe["num_experts"],
        "num_experts_per_tok": moe["router"]["top_k"],
        "num_hidden_layers": model["n_layers"],
        "num_key_value_heads": mixer.get("n_kv_heads", mixer["n_heads"]),
        "output_router_logits": False,
        "pad_token_id": pad,
        "rms_norm_eps": block["layer_norm"]["eps"],
        "rope_scaling": None,
        "rope_theta": float(mixer["rope"]["theta"]),
        "router_aux_loss_coef": moe["lb_loss_weight"],
        "tie_word_embeddings": model["tie_word_embeddings"],
        "use_cache": True,
        "vocab_size": model["vocab_size"],
    }
