from functools import partial

from transformers import OlmoeConfig
from transformers.models.olmoe import convert_olmoe_weights_to_hf as script


def convert(source, output, fix_eos=True, **sizes):
    """The script has the config's own number of experts, 64 and 8 of them; `sizes` says others."""
    script.OlmoeConfig = partial(OlmoeConfig, **sizes)
    script.write_model(output, source, fix_eos_token_id=fix_eos)
