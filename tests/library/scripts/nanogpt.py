import torch
from transformers import GPT2Config, GPT2LMHeadModel

TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def convert(source, output):
    """No script: nanoGPT's own `GPT.from_pretrained` reads transformers', and this is its inverse.

    A model without biases gets such as are zero.
    """
    checkpoint = torch.load(f"{source}/ckpt.pt", weights_only=True)
    args = checkpoint["model_args"]
    state = {key.removeprefix("_orig_mod."): t for key, t in checkpoint["model"].items()}
    config = GPT2Config(
        vocab_size=args["vocab_size"],
        n_positions=args["block_size"],
        n_embd=args["n_embd"],
        n_layer=args["n_layer"],
        n_head=args["n_head"],
        activation_function="gelu",
        attn_pdrop=args["dropout"],
        embd_pdrop=args["dropout"],
        resid_pdrop=args["dropout"],
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).to(state["lm_head.weight"].dtype)
    for key, tensor in model.state_dict().items():
        own = state[key] if key in state else torch.zeros_like(tensor)
        tensor.copy_(own.t() if key.endswith(TURNED) else own)
    model.save_pretrained(output)
