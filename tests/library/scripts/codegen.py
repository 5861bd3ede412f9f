"""A reference of our own, for no release of transformers has a script from CodeGen to GPT-J.

CodeGen's attention takes the rows of its fused matrix as four cores, each with its queries, its
values and its keys, and its heads core by core. So the matrix of the queries is those of all cores
below one another. That the two models say the same is asked of the classes themselves.
"""

import torch
from transformers import CodeGenForCausalLM, GPTJConfig, GPTJForCausalLM

CORES = 4


def convert(source, output):
    given = CodeGenForCausalLM.from_pretrained(source, torch_dtype="auto")
    said = given.config
    config = GPTJConfig(
        vocab_size=said.vocab_size, n_positions=said.n_positions, n_embd=said.n_embd,
        n_layer=said.n_layer, n_head=said.n_head, rotary_dim=said.rotary_dim,
        n_inner=said.n_inner, activation_function=said.activation_function,
        resid_pdrop=said.resid_pdrop, embd_pdrop=said.embd_pdrop, attn_pdrop=said.attn_pdrop,
        layer_norm_epsilon=said.layer_norm_epsilon, initializer_range=said.initializer_range,
        use_cache=said.use_cache, bos_token_id=said.bos_token_id, eos_token_id=said.eos_token_id,
        scale_attn_weights=True, tokenizer_class="CodeGenTokenizer",
    )  # fmt: skip
    model = GPTJForCausalLM(config).to(given.dtype)
    model.load_state_dict(parted(given.state_dict()))
    model.save_pretrained(output)
    assert_alike(given.float().eval(), model.float().eval())


def parted(state):
    parts = {}
    for key, tensor in state.items():
        if key.endswith("qkv_proj.weight"):
            cores = [core.chunk(3) for core in tensor.chunk(CORES)]
            for name, rows in zip("qvk", zip(*cores, strict=True), strict=True):
                parts[key.replace("qkv_proj", f"{name}_proj")] = torch.cat(rows)
        elif not key.endswith("causal_mask"):
            parts[key] = tensor
    return parts


def assert_alike(given, made):
    tokens = torch.arange(24).view(1, 24) * 3
    with torch.no_grad():
        wanted, found = given(tokens).logits, made(tokens).logits
    assert wanted.std() > 1e-3
    assert torch.allclose(wanted, found, atol=1e-5), (wanted - found).abs().max()
