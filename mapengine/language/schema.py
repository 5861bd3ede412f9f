"""The JSON Schema of a mapping file: the language's skeleton, and the ops' own fields.

`mapping_schema()` is the source; `mapping.schema.json` beside this file is its printed form, kept
fresh by a test, so that editors can point at it. An op is a mapping of one key, not a choice
among alternatives: then a mistake inside is reported where it stands.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields
from typing import Any

from mapengine.ops import OPS, Op
from mapengine.specs import DTYPES
from mapengine.views import VALUES

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
_DTYPE: _Schema = {"type": "string", "enum": sorted(DTYPES)}
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
    "description": "The layout for which this is kept, a list of them, or `a+b`: both at once.",
    "examples": ["native", ["native", "hub"], "hub+fused"],
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
            schema = {**_DTYPE}
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
    words = bare.pop("enum", None)  # of the bare value alone
    both = {**named, **bare, "description": named["description"], "type": ["object", *kinds]}
    return {**both, "if": {"type": kinds}, "then": {"enum": words}} if words else both


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
            "description": "The shape of each source tensor; a list of shapes where they differ. "
            "Without a source, of the target.",
            "examples": [["heads * head_dim", "hidden"]],
        },
        "value": {
            "type": ["string", "number", "boolean"],
            "description": f"Without a source, what the elements are: {', '.join(VALUES)}, "
            "or the number that all of them are.",
            "examples": ["tril", -10000.0],
        },
        "dtype": {
            "type": ["string", "array"],
            "items": _DTYPE,
            "description": "The dtype of each source tensor; a list of dtypes where they differ. "
            "Without a source, of the target: a word, or an expression that gives one.",
            "examples": ["float32", ["float8_e4m3fn", "float32"]],
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
    "examples": ["params.json", {"file": "model.pt", "at": "args"}, {"at": "args"}],
    "properties": {
        "file": _text("The file; without it, the tensor files."),
        "at": _text("The object in it.", "args"),
    },
    "minProperties": 1,
    "additionalProperties": False,
}
_ROOT = _text("The object in a tensor file that is the checkpoint.", "model/")
_LAYOUT = _object(
    "One published form: what of the side it says differently.",
    {"tensors": _FILES, "config": _CONFIG_FILE, "root": _ROOT},
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
            **_DTYPE,
            "description": "Every floating tensor written here is cast to this.",
        },
        "root": _ROOT,
        "model": _text("The transformers class it is for; `verify` asks it.", "DemoForCausalLM"),
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
            "description": "Values of the source, and the target's for them: words in quotes, "
            "or numbers, true and false as they are.",
        },
        "when": {
            **_WHEN,
            "type": [*_WHEN["type"], "object"],
            "description": "Written where this holds; or a condition for each side.",
            "properties": {"source": _EXPRESSION, "target": _EXPRESSION},
            "additionalProperties": False,
            "examples": ["scaled", {"source": "window != null"}],
        },
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


def schema_text() -> str:
    """The schema as it is printed and kept beside the package."""
    return json.dumps(mapping_schema(), indent=2, ensure_ascii=False) + "\n"
