"""The model card of an output, as the Hub's own library reads it."""

import json

import pytest
from huggingface_hub import ModelCard

from mapengine import api


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "source"
    mapping = api.load("mixtral")
    api.make_example(mapping, api.example_layout(mapping, None), folder)
    return folder


def test_the_card_says_what_was_made_of_what(source, tmp_path):
    api.run(api.Job("mixtral", source), tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "transformers" and "mapengine" in card.data.tags
    assert (
        "# MixtralForCausalLM" in card.text and "| tensors | 69, of 285,280 elements |" in card.text
    )
    assert api.load("mixtral").sha256 in card.text
    receipt = json.loads((tmp_path / "out" / "mapengine.json").read_text())
    assert receipt["files"]["README.md"] == (tmp_path / "out" / "README.md").stat().st_size


def test_the_card_is_the_same_wherever_it_is_made(source, tmp_path):
    cards = set()
    for name in ("one", "two"):
        api.run(api.Job("mixtral", source), tmp_path / name)
        cards.add((tmp_path / name / "README.md").read_bytes())
    (card,) = cards
    assert str(source).encode() not in card


def test_a_tokenizer_is_missed_where_there_is_none(source, tmp_path):
    api.run(api.Job("mixtral", source), tmp_path / "without")
    (source / "tokenizer.model").write_bytes(b"a tokenizer")
    try:
        api.run(api.Job("mixtral", source), tmp_path / "with")
    finally:
        (source / "tokenizer.model").unlink()
    said = "no tokenizer and no processor"
    assert said in (tmp_path / "without" / "README.md").read_text()
    card = (tmp_path / "with" / "README.md").read_text()
    assert said not in card and "| carried over | `tokenizer.model` |" in card


def test_what_is_no_model_of_transformers_gets_no_card(source, tmp_path):
    api.run(api.Job("mixtral", source), tmp_path / "there")
    api.run(api.Job("mixtral", tmp_path / "there", reverse=True), tmp_path / "back")
    assert not (tmp_path / "back" / "README.md").exists()
