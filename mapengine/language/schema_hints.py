"""The way out of what the schema refuses: words near by, the right place, an example."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from mapengine.errors import suggest
from mapengine.language.schema import mapping_schema
from mapengine.language.schema_ops import argument_name, is_required
from mapengine.ops import OPS

Path = tuple[str | int, ...]

OLD_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
"""The words of YAML 1.1 for true and false, which are plain words since."""

_OTHER_NAMES = {
    "axis": "dim", "axes": "dims", "if": "when", "condition": "when", "rules": "tensors",
    "weights": "tensors", "version": "mapengine", "layouts": "layout", "shapes": "shape",
    "num": "into", "path": "source", "formula": "compute", "constant": "value",
}  # fmt: skip
_PLACES = {"from": "source", "to": "target", "src": "source", "dst": "target", "in": "source",
           "out": "target"}  # fmt: skip


def is_otherwise(key: str, words: Any) -> bool:
    """Whether one of the words present is a misspelling, or another name, of `key`."""
    return bool(suggest(key, words)) or any(_OTHER_NAMES.get(word) == key for word in words)


def unknown_word(key: str, path: Path, value: Any, known: list[str]) -> str:
    """What may be meant by a word that the language does not have at `path`."""
    if path[:1] == ("config",) and key in _PLACES:
        return f"here it is called {_PLACES[key]!r}: {{source: dim, target: hidden_size}}"
    if _OTHER_NAMES.get(key) in known:
        return f"here it is called {_OTHER_NAMES[key]!r}"
    if near := suggest(key, known):
        return near
    if key in OPS and "ops" in known:
        return f"an op stands under ops: [{{{key}: ...}}]"
    if path and (help := misplaced(key)):
        return help
    if path[:1] == ("config",) and len(path) == 2 and isinstance(value, dict | str):
        return f"if it is a field of its own, indent it as {path[1]!r} is"
    if key.endswith(")") or "{" in key:
        return "an expression with a comma inside { } needs quotes"
    return f"known here: {', '.join(known)}"


def misplaced(key: object) -> str:
    """Said of a part of the mapping that stands inside another one."""
    top = mapping_schema()["properties"]
    return f"{key!r} is a part of the mapping: do not indent it" if key in top else ""


def other_kind(value: Any, schema: dict[str, Any], path: Path) -> str:
    """The way from a value of a wrong kind to one of the right kind."""
    kinds = schema.get("type", [])
    if "boolean" in kinds and str(value).lower() in OLD_WORDS:
        return f"write {OLD_WORDS[str(value).lower()]}"
    if isinstance(value, str) and (torn := re.match(r"(\w+):[\[{\w]", value)):
        return f"a blank follows the colon: {torn[1]}: ..."
    if path[-3:-2] == ("tensors",) and path[-1] in mapping_schema()["$defs"]["rule"]["properties"]:
        return f"{path[-1]!r} belongs to a rule: indent it below one, without a dash"
    if len(path) > 1 and isinstance(path[-1], str) and (help := misplaced(path[-1])):
        return help if path[0] in ("dims", "config", "presets") else _example(schema, path)
    return _example(schema, path)


def missing_word(key: str, schema: dict[str, Any]) -> str:
    """How a word that is missing is written."""
    return _example(schema["properties"].get(key, {}), (key,))


def torn(first: str, second: str, keys: list[str]) -> str:
    """What two keys in one item are: mostly a body that is not indented."""
    if {"source", "target"} <= set(keys):
        return "a rule is one key with its body: - a.weight -> b.weight: {shape: [...]}"
    if "tensors" in keys:
        return suggest(first, ["scope"]) or "a scope is `scope: prefix` with `tensors` beside it"
    if second in OPS or "->" in second:
        return "each rule, and each op, is an item of its own: begin it with `- `"
    return f"indent {second!r} deeper than {first!r}"


def bare_op(name: str) -> tuple[str, str]:
    """What an op that is written as a word alone lacks, and how it is written."""
    needed = [a for a in fields(OPS[name]) if is_required(a)]
    text = f"{name} needs {' and '.join(map(argument_name, needed))}"
    examples = ", ".join(f"{argument_name(a)}: {_flow(a.metadata['example'])}" for a in needed)
    return text, f"- {name}: {{{examples}}}"


def _example(schema: dict[str, Any], path: Path) -> str:
    """How the word at `path` is written, from its schema."""
    if "$ref" in schema:
        schema = mapping_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    examples = schema.get("examples") or ([schema["const"]] if "const" in schema else [])
    if not examples:
        return ""
    word = f"{path[-1]}: " if path and isinstance(path[-1], str) else ""
    example = examples[0]
    if isinstance(example, list) and isinstance(example[0], str):
        example = example[:2]  # enough to see that it is a list
    return f"for example {word}{_flow(example)}"


def _flow(value: Any) -> str:
    """A value as it is written on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1_000)
    return text.removesuffix("\n").removesuffix("\n...")
