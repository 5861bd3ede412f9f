import torch
from transformers import OPTForCausalLM
from transformers.models.opt import convert_opt_original_pytorch_checkpoint_to_pytorch as script


def convert(source, output, causal=True, untied=False):
    """The script makes an `OPTModel`; what is on the Hub was loaded from it and saved again."""
    checkpoint = f"{source}/restored.pt"
    script.convert_opt_checkpoint(checkpoint, output, source)
    if causal:
        model = OPTForCausalLM.from_pretrained(output, torch_dtype="auto")
        if untied:  # the script leaves such a head out
            head = torch.load(checkpoint)["model"]["decoder.output_projection.weight"]
            model.lm_head.weight.data = head.half()
        model.save_pretrained(output)
