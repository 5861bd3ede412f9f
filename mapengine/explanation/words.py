"""Words of the language: what the schema says of a part of a mapping file, or of an op."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from mapengine.language.schema import mapping_schema

_Schema = dict[str, Any]
_RULES, _OPS, _FIELD = "rules", "ops", "config"


@dataclass(frozen=True, slots=True)
class WordExplained:
    """A part of a mapping file. `parts` are the words one step further in, with what they mean."""

    name: str
    text: str
    kinds: tuple[str, ...]
    required: bool
    default: Any
    examples: tuple[Any, ...]
    choices: tuple[Any, ...]
    parts: tuple[tuple[str, str], ...]


def words() -> list[str]:
    """Every word that can be asked for: `ops.split`, `rules.shape`, `source.layouts`."""
    return list(_table())


def word_called(name: str) -> WordExplained | None:
    return _table().get(name)


@cache
def _table() -> dict[str, WordExplained]:
    schema = mapping_schema()
    defs = schema["$defs"]
    found: dict[str, WordExplained] = {}
    for name, node in schema["properties"].items():
        found |= _words(name, node, defs, name in schema["required"])
    found |= _words(_RULES, defs["rule"], defs, False)
    found |= _words("scope", defs["scope"], defs, False)
    found |= _words("layouts", defs["layout"], defs, False)
    field = schema["properties"]["config"]
    both = {**field, "properties": field["properties"] | _inside(field["additionalProperties"])}
    found |= _words(_FIELD, both, defs, False)
    call = {**defs["op"], "properties": defs["op"]["else"]["properties"]}
    found |= _words(_OPS, call, defs, False)
    return found


def _words(
    name: str, node: _Schema, defs: dict[str, _Schema], required: bool
) -> dict[str, WordExplained]:
    """A word and those inside it."""
    node = _resolved(node, defs)
    inside = _inside(node)
    needed = node.get("required", ())
    parts = tuple((one, _resolved(n, defs).get("description", "")) for one, n in inside.items())
    found = {name: _word(name, node, required, parts)}
    for one, inner in inside.items():
        found |= _words(f"{name}.{one}", inner, defs, one in needed)
    return found


def _inside(node: _Schema) -> dict[str, _Schema]:
    properties: dict[str, _Schema] = node.get("properties", {})
    return properties


def _resolved(node: _Schema, defs: dict[str, _Schema]) -> _Schema:
    """What a reference stands for; what stands beside it wins. Lists of rules are not entered."""
    if "$ref" not in node:
        return node
    named = node["$ref"].rpartition("/")[2]
    return {**defs[named], **node}


def _word(
    name: str, node: _Schema, required: bool, parts: tuple[tuple[str, str], ...]
) -> WordExplained:
    kinds = node.get("type", [])
    choices = node.get("enum") or node.get("then", {}).get("enum", ()) if not parts else ()
    return WordExplained(
        name,
        " ".join(node.get("description", "").split()),
        tuple([kinds] if isinstance(kinds, str) else kinds),
        required,
        node.get("default"),
        tuple(node.get("examples", ())),
        tuple(choices),
        parts,
    )
