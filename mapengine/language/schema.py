"""The JSON Schema of a mapping file: the language's skeleton, and the ops' own fields.

`mapping_schema()` is the source; `mapping.schema.json` beside this file is its printed form, kept
fresh by a test, so that editors can point at it. An op is a mapping of one key, not a choice
among alternatives: then a mistake inside is reported where it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from mapengine.errors import MappingError, Problem, suggest
from mapengine.language.document import Document
from mapengine.ops import OPS, Op
from mapengine.specs import DTYPES

FORMAT_VERSION = 1

_Schema = dict[str, Any]


def _text(description: str, *examples: str) -> _Schema:
    schema: _Schema = {"type": "string", "minLength": 1, "description": description}
    return {**schema, "examples": list(examples)} if examples else schema


def _list_of(items: _Schema, description: str) -> _Schema:
    return {"type": "array", "items": items, "description": description}


def _object(description: str, properties: _Schema, required: tuple[str, ...] = ()) -> _Schema:
    schema = {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


_EXPRESSION: _Schema = {
    "type": ["string", "number", "boolean", "null"],
    "description": "A number, or an expression over config names.",
    "examples": ["heads * head_dim", 4096],
}
_SHAPE: _Schema = _list_of(_EXPRESSION, "The size of each axis, in config names.")
_PATHS: _Schema = {
    "description": "A path in the side's config; a list of paths, all of them; or one per layout.",
    "examples": ["hidden_size", {"native": "dim", "hub": "hidden_size"}],
    "type": ["string", "array", "object"],
    "items": {"type": "string"},
    "additionalProperties": {"type": ["string", "array"], "items": {"type": "string"}},
}
_LAYOUT_NAMES: _Schema = {
    "type": ["string", "array"],
    "items": {"type": "string"},
    "description": "The layout, or the layouts, for which this is kept.",
    "examples": ["native", ["native", "hub"]],
}
_WHEN: _Schema = {
    **_EXPRESSION,
    "description": "Kept for the loop indices, and the config, for which this holds.",
    "examples": ["layer >= dense", "not tied"],
}


def argument_name(argument: Field[Any]) -> str:
    """How a field of an op is written in YAML: `from_` is `from`."""
    return argument.name.rstrip("_")


def _argument_schema(argument: Field[Any]) -> _Schema:
    kind = argument.metadata["kind"]
    schema: _Schema
    match kind:
        case "integer" | "number":
            schema = {"type": ["number", "string"]}
        case "integers":
            schema = {"type": ["array", "string"], "items": {"type": ["integer", "string"]}}
        case "fan" | "axes":
            schema = {"type": "string"}
        case "dtype":
            schema = {"type": "string", "enum": sorted(DTYPES)}
        case "flag":
            schema = {"type": "boolean"}
        case _:
            schema = {"type": "string", "enum": kind.split("|")}
    schema["description"] = argument.metadata["description"]
    schema["examples"] = [argument.metadata["example"]]
    if argument.default is not MISSING and isinstance(argument.default, int | str):
        schema["default"] = argument.default
    return schema


def is_required(argument: Field[Any]) -> bool:
    return argument.default is MISSING


def _op_schema(op: type[Op]) -> _Schema:
    arguments = fields(op)
    named = _object(
        (op.__doc__ or "").strip(),
        {argument_name(a): _argument_schema(a) for a in arguments},
        tuple(argument_name(a) for a in arguments if is_required(a)),
    )
    if op.positional is None:
        return named
    bare = next(_argument_schema(a) for a in arguments if argument_name(a) == op.positional)
    kinds = bare["type"] if isinstance(bare["type"], list) else [bare["type"]]
    return {**named, **bare, "description": named["description"], "type": ["object", *kinds]}


def _op_call() -> _Schema:
    bare = [name for name, op in OPS.items() if not any(map(is_required, fields(op)))]
    return {
        "description": "One op with its arguments, or its name where it needs none.",
        "type": ["object", "string"],
        "if": {"type": "string"},
        "then": {"enum": bare},
        "else": {
            "properties": {name: _op_schema(op) for name, op in OPS.items()},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    }


_RULE = _object(
    "What there is to say of a rule beside its keys.",
    {
        "shape": {
            "type": "array",
            "items": {
                **_EXPRESSION,
                "type": [*_EXPRESSION["type"], "array"],
                "items": _EXPRESSION,
            },
            "description": "The shape of each source tensor; a list of shapes where they differ.",
            "examples": [["heads * head_dim", "hidden"]],
        },
        "ops": _list_of({"$ref": "#/$defs/op"}, "What happens on the way, in order."),
        "when": _WHEN,
        "layout": _LAYOUT_NAMES,
        "optional": {
            "type": "boolean",
            "description": "All keys of the rule are there, or none are.",
            "default": False,
        },
    },
)

_SCOPE = _object(
    "Rules that share a prefix, a condition or a layout.",
    {
        "scope": _text("A prefix for all keys inside: one, or `source -> target`.", "h.{block}."),
        "tensors": {"$ref": "#/$defs/rules"},
        "when": _WHEN,
        "layout": _LAYOUT_NAMES,
    },
    ("scope", "tensors"),
)

_RULES: _Schema = {
    "type": "array",
    "description": "Rules, and scopes that hold rules.",
    "items": {
        "type": ["string", "object"],
        "if": {"type": "object", "required": ["scope"]},
        "then": {"$ref": "#/$defs/scope"},
        "else": {
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"$ref": "#/$defs/rule"},
        },
    },
}

_FILE: _Schema = {
    "type": ["string", "object"],
    "description": "A file name, a glob or a pattern; or that with the prefix its keys get.",
    "examples": ["model.safetensors", "consolidated.{rank:02}.pth"],
    "properties": {
        "files": _text("The file name, glob or pattern."),
        "prefix": _text("Where the file's keys hang.", "h.{block}."),
    },
    "required": ["files"],
    "additionalProperties": False,
}
_FILES: _Schema = {**_FILE, "type": ["string", "object", "array"], "items": _FILE}
_CONFIG_FILE: _Schema = {
    "type": ["string", "object"],
    "description": "The config file; or the object in it, or in a tensor file, that is the config.",
    "examples": ["params.json", {"file": "model.pt", "at": "args"}],
    "properties": {"file": _text("The file."), "at": _text("The object in it.", "args")},
    "required": ["file"],
    "additionalProperties": False,
}
_LAYOUT = _object(
    "One published form: what of the side it says differently.",
    {"tensors": _FILES, "config": _CONFIG_FILE},
)
_LAYOUT_CHOICE: _Schema = {
    "type": "object",
    "additionalProperties": {"$ref": "#/$defs/layout"},
    "minProperties": 1,
}
_SIDE = _object(
    "One side of the mapping: a folder with tensors and a config.",
    {
        "config": _CONFIG_FILE,
        "tensors": _FILES,
        "layouts": {
            **_LAYOUT_CHOICE,
            "type": ["object", "array"],
            "items": _LAYOUT_CHOICE,
            "description": "The published forms, of which exactly one is there; "
            "or a list of such choices, independent of one another.",
        },
        "ignore": _object(
            "What is left behind by name when this side is read.",
            {
                "tensors": _list_of(_text("A key; ending in a dot, all below it."), "Tensors."),
                "config": _list_of(_text("A path; ending in a dot, all below it."), "Config keys."),
            },
        ),
        "dtype": {
            "type": "string",
            "enum": sorted(DTYPES),
            "description": "Every floating tensor written here is cast to this.",
        },
        "root": _text("The object in a tensor file that is the checkpoint.", "model/"),
        "model": _text("The transformers class that `verify` asks.", "DemoForCausalLM"),
    },
)

_FIELD: _Schema = {
    "type": ["string", "object"],
    "description": "A config field: one path for both sides, or its place on either.",
    "properties": {
        "source": _PATHS,
        "target": _PATHS,
        "default": {
            "description": "The value where the path is absent: of the source, or by side."
        },
        "value": {"description": "A constant, or one per layout; what is there must be equal."},
        "compute": {**_EXPRESSION, "description": "An expression; what is there must be equal."},
        "type": {
            "enum": ["int", "float", "str", "bool"],
            "description": "What the value is converted to on reading.",
        },
        "values": {
            "type": "object",
            "description": "Words of the source, and the target's words for them.",
        },
        "when": _WHEN,
        "optional": {"type": "boolean", "description": "Null is left out.", "default": False},
        "each": _text("A list with one value per index; in rules, the one at that index.", "layer"),
    },
    "additionalProperties": False,
}


def mapping_schema() -> _Schema:
    """The whole schema, as JSON Schema 2020-12."""
    top = _object(
        "A mapping between two forms of a checkpoint.",
        {
            "mapengine": {"const": FORMAT_VERSION, "description": "The language's version."},
            "name": {
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9_]*$",
                "description": "The mapping's name, as in `mapengine run NAME`.",
            },
            "title": _text("One line about it."),
            "source": {"$ref": "#/$defs/side"},
            "target": {"$ref": "#/$defs/side"},
            "files": _list_of(_text("A file name."), "Files carried over when present."),
            "presets": {
                "type": "object",
                "additionalProperties": {"type": "object"},
                "description": "Named sets of config values that no file says.",
            },
            "config": {
                "type": "object",
                "description": "Config fields: a name for expressions, its place on either side.",
                "properties": {
                    "carry": {
                        "type": ["array", "string"],
                        "items": {"type": "string"},
                        "description": "Config keys taken over as they are; `rest` is all others.",
                    }
                },
                "additionalProperties": _FIELD,
            },
            "dims": {
                "type": "object",
                "description": "The range of each index: a size, or a list of words.",
                "additionalProperties": {
                    "type": ["integer", "string", "array"],
                    "items": {"type": "string"},
                    "minItems": 1,
                },
            },
            "tensors": {"$ref": "#/$defs/rules"},
            "example": {"type": "object", "description": "Small values for the config names."},
        },
        ("mapengine", "name", "source", "target", "tensors"),
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mapengine mapping",
        **top,
        "$defs": {
            "side": _SIDE,
            "layout": _LAYOUT,
            "rules": _RULES,
            "scope": _SCOPE,
            "rule": _RULE,
            "op": _op_call(),
        },
    }


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
                    near = suggest(key, known)
                    hint = near or _call_hint(key) or f"known here: {', '.join(known)}"
                    at = document.where_key((*path, key))
                    yield Problem("ME202", f"unknown word {key!r}", at, place, hint)
        case "required":
            missing = [k for k in error.validator_value if k not in error.instance]
            misspelt = set(error.instance) - set(error.schema["properties"])
            if error.message.split("'")[1] == missing[0]:
                told = [k for k in missing if not suggest(k, misspelt)]  # told as unknown words
                if told:
                    yield Problem("ME203", f"{', '.join(map(repr, told))} is missing", where, place)
        case "type":
            wanted = error.validator_value
            listed = wanted if isinstance(wanted, list) else [wanted]
            wanted = " or ".join(_TYPES[kind] for kind in listed)
            yield Problem(
                "ME204", f"{_shown(error.instance)} where {wanted} is wanted", where, place
            )
        case "enum" if path[-2:-1] == ("ops",) and error.instance in OPS:
            needed = [argument_name(a) for a in fields(OPS[error.instance]) if is_required(a)]
            text = f"{error.instance} needs {' and '.join(needed)}"
            hint = f"- {error.instance}: {{{needed[0]}: ...}}"
            yield Problem("ME203", text, where, place, hint)
        case "enum" | "const":
            known = error.validator_value if error.validator == "enum" else [error.validator_value]
            hint = suggest(str(error.instance), map(str, known))
            text = f"{_shown(error.instance)} is none of {', '.join(map(str, known))}"
            yield Problem("ME205", text, where, place, hint)
        case "maxProperties":
            yield _one_key(document, path, list(error.instance), place)
        case "minLength" | "minItems" | "minProperties":
            yield Problem("ME207", "there is nothing here", where, place)
        case "pattern":
            text = f"{_shown(error.instance)} is no name: small letters, digits and _ are wanted"
            yield Problem("ME207", text, where, place)
        case _:
            yield Problem("ME207", error.message, where, place)


def _one_key(document: Document, path: tuple[str | int, ...], keys: list[str], at: str) -> Problem:
    """A rule or an op that holds two keys: mostly a body that is not indented."""
    first, second = keys[:2]
    where = document.where_key((*path, second))
    if "tensors" in keys:
        first, second = next(key for key in keys if key != "tensors"), "tensors"
        hint = suggest(first, ["scope"]) or "a scope is `scope: prefix` with `tensors` beside it"
    elif second in OPS or "->" in second:
        hint = "each rule, and each op, is an item of its own: begin it with `- `"
    else:
        hint = f"indent {second!r} deeper than {first!r}"
    return Problem("ME206", f"{second!r} stands beside {first!r}, not in it", where, at, hint)


def _shown(value: object) -> str:
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or repr(value)


def _call_hint(key: str) -> str:
    looks_torn = key.endswith(")") or "{" in key
    return "an expression with a comma inside { } needs quotes" if looks_torn else ""


def schema_text() -> str:
    """The schema as it is printed and kept beside the package."""
    return json.dumps(mapping_schema(), indent=2, ensure_ascii=False) + "\n"
