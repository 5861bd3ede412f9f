from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import GemmaConfig
from transformers.models.gemma import convert_gemma_weights_to_hf as script


def convert(source, output, config):
    with TemporaryDirectory() as scratch:
        checkpoint = with_angles(source, scratch)
        script.write_model(output, checkpoint, GemmaConfig(**config))


def with_angles(source, scratch):
    """A copy of the checkpoint with the rotary angles, which the script wants there to drop."""
    held = torch.load(Path(source, "model.ckpt"))
    held["model_state_dict"]["freqs_cis"] = torch.ones(16, 8, dtype=torch.complex64)
    torch.save(held, copy := Path(scratch, "model.ckpt"))
    return copy
