from pathlib import Path

from transformers.models.bloom import convert_bloom_original_checkpoint_to_pytorch as script


def convert(source, output, ranks, shards=False):
    """With `shards`, the script writes the config of no model at all, which is left out."""
    Path(output).mkdir()
    config = f"{source}/bloom_config.json"
    script.convert_bloom_checkpoint_to_pytorch(source, config, output, shards, ranks)
    if shards:
        Path(output, "config.json").unlink()
