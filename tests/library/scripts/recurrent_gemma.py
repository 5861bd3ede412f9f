from pathlib import Path

import torch
from transformers import RecurrentGemmaConfig
from transformers.models.recurrent_gemma import convert_recurrent_gemma_to_hf as script


def convert(source, output, **sizes):
    config = RecurrentGemmaConfig(**sizes)
    script.write_model(output, Path(source, "2b.pt"), config)
    torch.set_default_dtype(torch.float32)
