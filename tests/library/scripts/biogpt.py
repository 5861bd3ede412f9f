"""The script makes a vocabulary too: it is given words, as many as the table has rows."""

from pathlib import Path

from transformers.models.biogpt import (
    convert_biogpt_original_pytorch_checkpoint_to_pytorch as script,
)


def convert(source, output, vocab):
    made = [Path(source, "dict.txt"), Path(source, "bpecodes")]
    made[0].write_text("".join(f"word{i} 1\n" for i in range(vocab - 4)))  # four it knows itself
    made[1].write_text("")
    script.convert_biogpt_checkpoint_to_pytorch(source, output)
    for path in made:
        path.unlink()
