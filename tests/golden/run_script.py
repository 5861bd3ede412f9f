"""Runs the official script on pairs of folders: source, output, source, output, ...

Stands alone: it is run by the interpreter of the environment that has transformers 4.45.2.
"""

import sys

from transformers.models.mixtral.convert_mixtral_weights_to_hf import write_model

for source, output in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    write_model(output, source, model_size="7B")
