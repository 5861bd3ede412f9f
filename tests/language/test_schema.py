"""The schema tells an editor of every word what it is, an example, and the default."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mapengine.language.schema import mapping_schema
from mapengine.language.schema_ops import argument_name
from mapengine.ops import OPS

SCHEMA = mapping_schema()


def words(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every word of the language with its own schema, references followed."""
    if isinstance(schema, dict):
        for word, inner in schema.get("properties", {}).items():
            yield f"{place}.{word}", resolved(inner)
        if isinstance(named := schema.get("additionalProperties"), dict):
            yield f"{place}.*", resolved(named)
        for key, inner in schema.items():
            if key not in ("examples", "default"):
                yield from words(inner, f"{place}/{key}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from words(inner, place)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**SCHEMA["$defs"][name], **schema} if name else schema


WORDS = dict(words(SCHEMA))


def test_every_word_is_described_and_has_an_example():
    described = {place for place, word in WORDS.items() if word.get("description")}
    shown = {place for place, word in WORDS.items() if word.get("examples")}
    assert len(WORDS) > 100
    assert (sorted(WORDS.keys() - described), sorted(WORDS.keys() - shown)) == ([], [])


@pytest.mark.parametrize("place", WORDS)
def test_examples_and_defaults_are_what_the_schema_takes(place):
    schema = {**WORDS[place], "$defs": SCHEMA["$defs"]}
    schema.pop("$ref", None)
    validator = Draft202012Validator(schema)
    shown = [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]
    assert [list(validator.iter_errors(example)) for example in shown] == [[]] * len(shown)


def test_the_example_of_the_whole_is_good():
    assert list(Draft202012Validator(SCHEMA).iter_errors(SCHEMA["examples"][0])) == []


@pytest.mark.parametrize("name", OPS)
def test_the_defaults_of_an_op_are_those_of_its_fields(name):
    told = WORDS[f"/$defs/op/else.{name}"]["properties"]
    for argument in fields(OPS[name]):
        default = argument.default
        if default is not MISSING and isinstance(default, int | float | str):
            assert told[argument_name(argument)]["default"] == default
        else:
            assert "default" not in told[argument_name(argument)]
