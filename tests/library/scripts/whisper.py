from pathlib import Path

from transformers import GenerationConfig
from transformers.models.whisper import convert_openai_to_hf as script


def convert(source, output):
    """The script takes generation_config.json from the Hub: here it is left out."""
    script._get_generation_config = lambda *_: GenerationConfig()
    (checkpoint,) = Path(source).glob("*.pt")
    model, *_ = script.convert_openai_whisper_to_tfms(str(checkpoint), output)
    model.save_pretrained(output)
    Path(output, "generation_config.json").unlink()
