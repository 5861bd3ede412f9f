"""The JSON Schema of a mapping file: the language's skeleton, and the ops' own fields.

`mapping_schema()` is the source; `mapping.schema.json` beside this file is its printed form, kept
fresh by a test, so that editors can point at it. An op is a mapping of one key, not a choice
among alternatives: then a mistake inside is reported where it stands.
"""

from __future__ import annotations

import json

from mapengine.language.schema_ops import op_call
from mapengine.language.schema_parts import Schema, list_of, object_of, text
from mapengine.language.schema_rules import RULE, RULES, SCOPE
from mapengine.language.schema_sides import FIELD, LAYOUT, SIDE

FORMAT_VERSION = 1


EXAMPLE = {
    "mapengine": FORMAT_VERSION,
    "name": "demo",
    "source": {"config": "config.json", "tensors": "model.safetensors"},
    "target": {"config": "config.json", "tensors": "model.safetensors"},
    "config": {"hidden": "hidden"},
    "tensors": [{"norm.weight -> model.norm.weight": {"shape": ["hidden"]}}],
    "example": {"hidden": 8},
}


def mapping_schema() -> Schema:
    """The whole schema, as JSON Schema 2020-12."""
    top = object_of(
        "A mapping between two forms of a checkpoint.",
        {
            "mapengine": {
                "const": FORMAT_VERSION,
                "description": "The language's version.",
                "examples": [FORMAT_VERSION],
            },
            "name": {
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9_]*$",
                "description": "The mapping's name, as in `mapengine run NAME`.",
                "examples": ["tiny_moe"],
            },
            "title": text("One line about it.", "A mixture of experts, one file to another"),
            "source": {"$ref": "#/$defs/side"},
            "target": {"$ref": "#/$defs/side"},
            "files": {
                **list_of(
                    text("A file name.", "tokenizer.model"),
                    "Files carried over as they are, when present.",
                    ["tokenizer.model", "tokenizer.json"],
                ),
                "default": [],
            },
            "presets": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "description": "Config names and their values, for `--preset`.",
                    "examples": [{"hidden": 4096, "layers": 32}],
                },
                "description": "Named sets of config values that no file says.",
                "examples": [{"7b": {"hidden": 4096, "layers": 32}}],
                "default": {},
            },
            "config": {
                "type": "object",
                "description": "Config fields: a name for expressions, its place on either side.",
                "examples": [{"hidden": {"source": "dim", "target": "hidden_size"}}],
                "default": {},
                "properties": {
                    "carry": {
                        "type": ["array", "string"],
                        "items": {"type": "string"},
                        "description": "Config keys taken over as they are; `rest` is all others.",
                        "examples": [["use_cache"], "rest"],
                        "default": [],
                    }
                },
                "additionalProperties": FIELD,
            },
            "dims": {
                "type": "object",
                "description": "The range of each index: a size, or a list of words.",
                "examples": [{"layer": "layers", "kind": ["weight", "bias"]}],
                "default": {},
                "additionalProperties": {
                    "description": "The index goes from 0 to this size, or through these words.",
                    "examples": ["layers", ["weight", "bias"]],
                    "type": ["integer", "string", "array"],
                    "items": {"type": "string"},
                    "minItems": 1,
                },
            },
            "tensors": {"$ref": "#/$defs/rules"},
            "example": {
                "type": "object",
                "description": "Small values for the config names.",
                "examples": [{"hidden": 64, "layers": 2, "heads": 4}],
            },
        },
        ("mapengine", "name", "source", "target", "tensors"),
        **EXAMPLE,
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mapengine mapping",
        **top,
        "$defs": {
            "side": SIDE,
            "layout": LAYOUT,
            "rules": RULES,
            "scope": SCOPE,
            "rule": RULE,
            "op": op_call(),
        },
    }


def schema_text() -> str:
    """The schema as it is printed and kept beside the package."""
    return json.dumps(mapping_schema(), indent=2, ensure_ascii=False) + "\n"
