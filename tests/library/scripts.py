"""Runs the official scripts on folders: `scripts.py NAME SOURCE OUTPUT OPTIONS [NAME ...]`.

Stands alone: it is run by the interpreter of the environment that has transformers 4.45.2. Each
function calls a script's own code. What they leave out is the tokenizer, of which the scripts want
no more than its size.
"""

import json
import sys
from importlib import import_module


class Tokenizer:
    """As much of one as the scripts ask for."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def save_pretrained(self, folder): ...


def script(name):
    return import_module(f"transformers.models.{name}")


def mistral(source, output, vocab, v3=False):
    module = script("mistral.convert_mistral_weights_to_hf")
    module.tokenizer_class = lambda path: Tokenizer(vocab)
    module.write_model(output, source, "7B", tokenizer_path="", is_v3=v3)


def llama(source, output, vocab, version, shards, instruct=False):
    module = script("llama.convert_llama_weights_to_hf")
    module.write_model(
        output,
        source,
        llama_version=version,
        vocab_size=vocab,
        num_shards=shards,
        instruct=instruct,
    )


FAMILIES = {"mistral": mistral, "llama": llama}

if __name__ == "__main__":
    words = iter(sys.argv[1:])
    for name, source, output, options in zip(words, words, words, words, strict=True):
        FAMILIES[name](source, output, **json.loads(options))
