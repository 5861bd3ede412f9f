"""Rules and scopes as schema."""

from __future__ import annotations

from mapengine.language.schema_parts import (
    DTYPE,
    EXPRESSION,
    LAYOUT_NAMES,
    WHEN,
    Schema,
    list_of,
    object_of,
    text,
)
from mapengine.views import VALUES

RULE = object_of(
    "What there is to say of a rule beside its keys.",
    {
        "shape": {
            "type": "array",
            "items": {
                **EXPRESSION,
                "type": [*EXPRESSION["type"], "array"],
                "items": EXPRESSION,
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
            "items": DTYPE,
            "description": "The dtype of each source tensor; a list of dtypes where they differ. "
            "Without a source, of the target: a word, or an expression that gives one.",
            "examples": ["float32", ["float8_e4m3fn", "float32"]],
        },
        "ops": {
            **list_of(
                {"$ref": "#/$defs/op"},
                "What happens on the way, in order.",
                [{"transpose": [0, 1]}, {"cast": "float32"}],
                ["same"],
            ),
            "default": [],
        },
        "when": WHEN,
        "layout": LAYOUT_NAMES,
        "optional": {
            "type": "boolean",
            "description": "All keys of the rule are there, or none are.",
            "examples": [True],
            "default": False,
        },
    },
    shape=["hidden", "hidden"],
    ops=[{"transpose": [0, 1]}],
)

SCOPE = object_of(
    "Rules that share a prefix, a condition or a layout.",
    {
        "scope": text("A prefix for all keys inside: one, or `source -> target`.", "h.{block}."),
        "tensors": {"$ref": "#/$defs/rules"},
        "when": WHEN,
        "layout": LAYOUT_NAMES,
    },
    ("scope", "tensors"),
    scope="h.{block}. -> layers.{block}.",
    tensors=["norm.weight"],
)

RULES: Schema = {
    "type": "array",
    "description": "Rules, and scopes that hold rules.",
    "examples": [
        [
            "norm.weight -> model.norm.weight",
            {"a.{layer} -> b.{layer}": {"shape": ["hidden"]}},
            {"scope": "h.{block}.", "tensors": ["norm.weight"]},
        ]
    ],
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
