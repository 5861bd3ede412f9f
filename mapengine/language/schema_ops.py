"""The ops and their arguments as schema, from their fields."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

from mapengine.language.schema_parts import DTYPE, Schema, object_of
from mapengine.ops import OPS, Op


def argument_name(argument: Field[Any]) -> str:
    """How a field of an op is written in YAML: `from_` is `from`."""
    return argument.name.rstrip("_")


def _argument_schema(argument: Field[Any]) -> Schema:
    kind = argument.metadata["kind"]
    schema: Schema
    match kind:
        case "integer" | "number":
            schema = {"type": ["number", "string"]}
        case "integers":
            schema = {"type": ["array", "string"], "items": {"type": ["integer", "string"]}}
        case "fan" | "axes":
            schema = {"type": "string"}
        case "dtype":
            schema = {**DTYPE}
        case "flag":
            schema = {"type": "boolean"}
        case _:
            schema = {"type": "string", "enum": kind.split("|")}
    schema["description"] = argument.metadata["description"]
    schema["examples"] = [argument.metadata["example"]]
    if argument.default is not MISSING and isinstance(argument.default, int | float | str):
        schema["default"] = argument.default
    return schema


def is_required(argument: Field[Any]) -> bool:
    return argument.default is MISSING


def _is_typical(argument: Field[Any]) -> bool:
    return is_required(argument) or argument.metadata["kind"] == "fan" or argument.name == "dim"


def _op_schema(op: type[Op]) -> Schema:
    arguments = fields(op)
    named = object_of(
        (op.__doc__ or "").strip(),
        {argument_name(a): _argument_schema(a) for a in arguments},
        tuple(argument_name(a) for a in arguments if is_required(a)),
        **{argument_name(a): a.metadata["example"] for a in arguments if _is_typical(a)},
    )
    if op.positional is None:
        return named
    bare = next(_argument_schema(a) for a in arguments if argument_name(a) == op.positional)
    kinds = bare["type"] if isinstance(bare["type"], list) else [bare["type"]]
    words = bare.pop("enum", None)  # of the bare value alone
    both = {**named, **bare, "description": named["description"], "type": ["object", *kinds]}
    return {**both, "if": {"type": kinds}, "then": {"enum": words}} if words else both


def op_call() -> Schema:
    bare = [name for name, op in OPS.items() if not any(map(is_required, fields(op)))]
    return {
        "description": "One op with its arguments, `split: {into: expert}`, or its name alone "
        "where it needs none.",
        "examples": ["same"],
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
