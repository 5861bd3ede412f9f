import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PhiConfig, PhiForCausalLM
from transformers.models.phi import convert_phi_weights_to_hf as script

NAME = "microsoft/tiny"  # one the script knows no sizes of


def convert(source, output, fused=False):
    """What the script writes (`fused`), or a `PhiForCausalLM` of today made of that.

    The script dates from transformers 4.36, whose Phi had q, k and v in one matrix, head by head;
    asked for a model and not for bare weights it fails since. Its sizes are those of a
    `PhiConfig()`, here of the source. The file it would download is laid where it looks for it.
    """
    config = _config(json.loads(Path(source, "config.json").read_text()))
    script.PhiConfig = lambda: config
    Path(output).mkdir()
    made = Path(output, "tiny_pytorch_model.bin")
    with_code = Path(source).with_name(f"{Path(source).name}-script")
    file = with_code / f"{NAME}_model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(_counted_apart(load_file(f"{source}/model.safetensors"), config), file)
    script.convert_phi_weights(NAME, with_code, output, False, True, {NAME: ["model.safetensors"]})
    shutil.rmtree(with_code)
    if fused:
        return
    state = _parted(torch.load(made, weights_only=True), config)
    made.unlink()
    model = PhiForCausalLM(config)
    model.load_state_dict(state, strict=True)
    model.save_pretrained(output)


def _config(source):
    """The source's config in the words of transformers."""
    head_dim = source["n_embd"] // source["n_head"]
    return PhiConfig(
        vocab_size=source["vocab_size"],
        hidden_size=source["n_embd"],
        intermediate_size=source["n_inner"],
        num_hidden_layers=source["n_layer"],
        num_attention_heads=source["n_head"],
        resid_pdrop=source.get("resid_pdrop", 0.0),
        max_position_embeddings=source["n_positions"],
        partial_rotary_factor=source["rotary_dim"] / head_dim,
    )


def _counted_apart(state, config):
    """Keys of before November 2023 as the script knows them: there one count went through all."""
    last = config.num_hidden_layers + 1
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("layers."):
            _, number, rest = key.split(".", 2)
            places = {0: "transformer.embd", last: "lm_head"}
            key = f"{places.get(int(number), f'transformer.h.{int(number) - 1}')}.{rest}"
        renamed[key] = tensor
    return renamed


def _parted(state, config):
    """Each fused matrix as three: of every head its rows of q, of k and of v."""
    parted = {}
    for key, tensor in state.items():
        if "query_key_value" not in key:
            parted[key] = tensor
            continue
        heads = tensor.view(config.num_attention_heads, 3, -1, *tensor.shape[1:])
        for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
            parted[key.replace("query_key_value", name)] = heads[:, i].flatten(0, 1)
    return parted
