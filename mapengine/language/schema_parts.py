"""What the parts of the schema are made of."""

from __future__ import annotations

from typing import Any

from mapengine.specs import DTYPES

Schema = dict[str, Any]


def text(description: str, *examples: str) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1, "description": description}
    return {**schema, "examples": list(examples)} if examples else schema


def list_of(items: Schema, description: str, *examples: list[Any]) -> Schema:
    return {
        "type": "array",
        "items": items,
        "description": description,
        "examples": list(examples),
    }


def object_of(
    description: str, properties: Schema, required: tuple[str, ...] = (), **example: Any
) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": description,
        "examples": [example],
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


EXPRESSION: Schema = {
    "type": ["string", "number", "boolean", "null"],
    "description": "A number, or an expression over config names.",
    "examples": ["heads * head_dim", 4096],
}
DTYPE: Schema = {"type": "string", "enum": sorted(DTYPES)}
LAYOUT_NAMES: Schema = {
    "type": ["string", "array"],
    "items": {"type": "string"},
    "description": "The layout for which this is kept, a list of them, or `a+b`: both at once.",
    "examples": ["native", ["native", "hub"], "hub+fused"],
}
WHEN: Schema = {
    **EXPRESSION,
    "description": "Kept for the loop indices, and the config, for which this holds.",
    "default": True,
    "examples": ["layer >= dense", "not tied"],
}
