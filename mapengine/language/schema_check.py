"""A document against the schema: every place where it breaks it, in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mapengine.errors import MappingError, Problem, suggest
from mapengine.language.document import Document
from mapengine.language.schema import mapping_schema
from mapengine.language.schema_hints import (
    bare_op,
    is_otherwise,
    missing_word,
    other_kind,
    torn,
    unknown_word,
)
from mapengine.ops import OPS

_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def check_schema(document: Document) -> None:
    """Raises `MappingError` with every place where the document breaks the schema."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    validator = Draft202012Validator(mapping_schema(), registry=Registry())
    _check_kind(document)
    errors = list(validator.iter_errors(document.data))
    torn = {tuple(e.absolute_path) for e in errors if e.validator == "maxProperties"}
    problems: dict[tuple[int, int, str], Problem] = {}
    for error in errors:
        if not any(tuple(error.absolute_path)[: len(path)] == path for path in torn) or (
            error.validator == "maxProperties"
        ):
            for problem in _problems(document, error):
                where = problem.where or document.where(())
                place = (where.line, where.column, problem.message)
                problems.setdefault(place, problem)  # what aliases share is told once
    if problems:
        raise MappingError(*(problems[place] for place in sorted(problems)))


def _check_kind(document: Document) -> None:
    """Refuses a document in which nothing is a mapping's: a config, say."""
    known = mapping_schema()["properties"].keys()
    words = document.data if isinstance(document.data, dict) else {}
    if not words or any(word in known or suggest(str(word), known) for word in words):
        return
    message = "this is no mapping: it has none of the words of one"
    help = "a mapping begins with `mapengine: 1`; a config is read from the folder of --source"
    raise MappingError(Problem("ME203", message, document.where(()), help=help))


def path_text(path: tuple[str | int, ...]) -> str:
    """`tensors[3].ops[0]`."""
    parts = [f"[{p}]" if isinstance(p, int) else f".{p}" for p in path]
    return "".join(parts).removeprefix(".")


def place_text(data: Any, path: tuple[str | int, ...]) -> str:
    """A path in the mapping's own words: `rules[7].ops[0]` for what is in a rule."""
    before, items, at = 0, data, path
    while at[:1] == ("tensors",) and len(at) > 1 and isinstance(items, dict):
        listed, index, at = items["tensors"], at[1], at[2:]
        before += sum(map(_count_rules, listed[:index]))
        items = listed[index]
        if at and not (isinstance(items, dict) and "scope" in items):
            return f"rules[{before}].{path_text(at[1:])}".rstrip(".")
    return path_text(path)


def _count_rules(item: Any) -> int:
    if not isinstance(item, dict) or "scope" not in item:
        return 1
    inner = item.get("tensors")
    return sum(map(_count_rules, inner)) if isinstance(inner, list) else 0


def _problems(document: Document, error: Any) -> Iterator[Problem]:
    """One jsonschema error in our words: one problem per cause."""
    path = tuple(error.absolute_path)
    where, place = document.where(path), place_text(document.data, path)
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {})
            for key in error.instance:
                if key not in known and isinstance(error.schema["additionalProperties"], bool):
                    hint = unknown_word(key, path, error.instance[key], [*known])
                    at = document.where_key((*path, key))
                    yield Problem("ME202", f"unknown word {key!r}", at, place, hint)
        case "required":
            missing = [k for k in error.validator_value if k not in error.instance]
            strange = set(error.instance) - set(error.schema["properties"])
            if error.message.split("'")[1] == missing[0]:
                told = [k for k in missing if not is_otherwise(k, strange)]  # or told already
                if told:
                    are = "is" if len(told) == 1 else "are"
                    text = f"{', '.join(map(repr, told))} {are} missing"
                    yield Problem("ME203", text, where, place, missing_word(told[0], error.schema))
        case "type":
            wanted = error.validator_value
            listed = wanted if isinstance(wanted, list) else [wanted]
            wanted = " or ".join(_TYPES[kind] for kind in listed)
            text = f"{_shown(error.instance)} where {wanted} is wanted"
            hint = other_kind(error.instance, error.schema, path)
            yield Problem("ME204", text, where, place, hint)
        case "enum" if path[-2:-1] == ("ops",) and error.instance in OPS:
            text, hint = bare_op(error.instance)
            yield Problem("ME203", text, where, place, hint)
        case "enum" | "const":
            known = error.validator_value if error.validator == "enum" else [error.validator_value]
            hint = suggest(str(error.instance), map(str, known))
            if not hint and path[-2:-1] == ("ops",):
                hint = "an op with arguments is written `name: ...`; docs/ops.md has each"
            if error.validator == "const":
                hint = other_kind(error.instance, error.schema, path)
            text = f"{_shown(error.instance)} is none of {', '.join(map(str, known))}"
            yield Problem("ME205", text, where, place, hint)
        case "maxProperties":
            yield _one_key(document, path, list(error.instance), place)
        case "minLength" | "minItems" | "minProperties":
            yield Problem("ME207", "there is nothing here", where, place)
        case "pattern":
            text = f"{_shown(error.instance)} is no name: small letters, digits and _ are wanted"
            name = re.sub(r"[^a-z0-9]+", "_", str(error.instance).lower()).strip("_")
            yield Problem("ME207", text, where, place, f"name: {name}" if name else "")
        case _:
            yield Problem("ME207", error.message, where, place)


def _one_key(document: Document, path: tuple[str | int, ...], keys: list[str], at: str) -> Problem:
    """A rule or an op that holds two keys: mostly a body that is not indented."""
    first, second = keys[:2]
    where = document.where_key((*path, second))
    if "tensors" in keys:
        first, second = next(key for key in keys if key != "tensors"), "tensors"
    hint = torn(first, second, keys)
    return Problem("ME206", f"{second!r} stands beside {first!r}, not in it", where, at, hint)


def _shown(value: object) -> str:
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or repr(value)
