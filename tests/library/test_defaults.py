"""A default says what a config means that lacks the word: to transformers it must mean the same."""

import pytest

from library.defaults import other_defaults
from mapengine import api

MEANT_OTHERWISE = {  # field: what is written instead, and why
    ("convnext", "labels"): None,  # made from how many there are
    ("convnext", "numbers"): None,
    ("gpt_neox", "eos"): 0,  # as Pythia and GPT-NeoX-20B have it
    ("litgpt_pythia", "eos"): 0,
    ("litgpt_falcon", "tied"): False,  # LitGPT trains the head by itself
    ("nanogpt", "bos"): None,  # nanoGPT has none; its tokens may be anything
    ("nanogpt", "eos"): None,
    ("persimmon", "bos"): 71013,  # as the official script has it
    ("persimmon", "eos"): 71013,
    ("phi", "bos"): 50256,  # as Phi-1 and Phi-2 have it
    ("phi", "eos"): 50256,
    ("segformer", "labels"): None,  # made from how many there are
    ("segformer", "numbers"): None,
}


@pytest.mark.parametrize("name, path", api.shipped_mappings().items())
def test_what_is_not_said_means_what_transformers_takes_it_for(name, path):
    found = {(name, field): value for field, _, value, _ in other_defaults(api.load(path))}
    assert found == {one: value for one, value in MEANT_OTHERWISE.items() if one[0] == name}
