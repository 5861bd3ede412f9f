"""The script writes beside its source, asks for a tokenizer, and has one size if none is said.

Arguments are a Namespace to Megatron-LM; in a source that mapengine made they are a dict.
"""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import torch
from scripts import Tokenizer
from transformers import GPT2Config
from transformers.models.megatron_gpt2 import convert_megatron_gpt2_checkpoint as script


class GPT2TokenizerFast(Tokenizer): ...


def load(path, map_location):
    state = torch.load(path, map_location=map_location)
    return {k: Namespace(**v) if k == "args" else v for k, v in state.items()}


def convert(source, output, **sizes):
    script.AutoTokenizer.from_pretrained = lambda name: GPT2TokenizerFast(0)
    script.GPT2Config = lambda **words: GPT2Config(**{**words, **sizes})
    script.torch = Namespace(**{**vars(torch), "load": load})
    Path(output).mkdir()
    copy = Path(output, "model_optim_rng.pt")
    shutil.copy(Path(source, copy.name), copy)
    sys.argv = ["script", str(copy)]
    script.main()
    copy.unlink()
