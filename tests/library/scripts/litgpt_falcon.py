"""LitGPT's own way to Hugging Face, which writes tensors and no config."""

from pathlib import Path

from litgpt.scripts.convert_lit_checkpoint import convert_lit_checkpoint


def convert(source, output):
    convert_lit_checkpoint(Path(source), Path(output))
    Path(output, "model.pth").rename(Path(output, "pytorch_model.bin"))
