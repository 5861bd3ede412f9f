from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.gemma import with_angles
from transformers.models.gemma2 import convert_gemma2_weights_to_hf as script


def convert(source, output, model, sizes):
    """The script's own config of a model, but for its sizes."""
    config = copy(script.CONFIG_MAPPING[model])
    config.update(sizes)
    with TemporaryDirectory() as scratch:
        one_file = Path(source, "model.ckpt").exists()
        checkpoint = with_angles(source, scratch) if one_file else source
        script.write_model(output, checkpoint, config)
