"""The script knows one size, that of 8B, so the config it makes is given the sizes of the example.

It needs flatdict for one call, and gives the model words that 4.45.2 takes in its config alone.
"""

import sys
from pathlib import Path
from types import ModuleType


class FlatDict(dict):
    """Nested dicts as one, their keys joined."""

    def __init__(self, nested, delimiter):
        for key, value in nested.items():
            inner = FlatDict(value, delimiter) if isinstance(value, dict) else {None: value}
            self.update({key if k is None else key + delimiter + k: v for k, v in inner.items()})


sys.modules["flatdict"] = flatdict = ModuleType("flatdict")
flatdict.FlatDict = FlatDict

from transformers import PersimmonConfig, PersimmonForCausalLM  # noqa: E402
from transformers.models.persimmon import convert_persimmon_weights_to_hf as script  # noqa: E402


def make(config, **words):
    config.update(words)
    return PersimmonForCausalLM(config)


def convert(source, output, **sizes):
    script.PersimmonConfig = lambda: PersimmonConfig(**sizes)
    script.PersimmonForCausalLM = make
    file = Path(source, "model_optim_rng.pt")
    script.convert_persimmon_checkpoint(output, source, file, safe_serialization=True)
