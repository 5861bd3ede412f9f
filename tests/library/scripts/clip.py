"""The `clip` package is not needed for what the script does to tensors.

What the script reads of a model of OpenAI's are its parameters, and they come from the checkpoint
here. Left out is the comparison of the two models' outputs.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest.mock import MagicMock, patch

import torch
from scripts import module_of


def convert(source, output, config):
    """Takes a `config` as the script's `config_path` does: the sizes, in transformers' words."""
    with patch.dict(sys.modules, {"clip": MagicMock()}):
        script = import_module("transformers.models.clip.convert_clip_original_pytorch_to_hf")
    (checkpoint,) = Path(source).glob("*.pt")
    state = {key: tensor.float() for key, tensor in torch.load(checkpoint).items()}
    model = module_of(state)
    model.forward = MagicMock(return_value=(torch.zeros(1), torch.zeros(1)))
    script.load = lambda path, device, jit: (model, None)
    same = MagicMock(logits_per_image=torch.zeros(1), logits_per_text=torch.zeros(1))
    forward = patch.object(script.CLIPModel, "forward", return_value=same)
    with forward, NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        script.convert_clip_checkpoint(checkpoint, output, file.name)
