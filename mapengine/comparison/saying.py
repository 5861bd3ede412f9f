"""What a mapping says beside its rules, as lines that can be compared: sides, fields, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mapengine.binding.config_values import told
from mapengine.errors import Where
from mapengine.language.expressions import Expression
from mapengine.language.mapping import (
    Choice,
    ConfigField,
    ConfigFile,
    FilePattern,
    Mapping,
    Side,
)


@dataclass(frozen=True, slots=True)
class Said:
    """A value, as text, and where it is said."""

    text: str
    where: Where | None


def said(mapping: Mapping) -> dict[str, Said]:
    """By the names that the language has for it: `config.heads.source`, `dims.layer`."""
    found: dict[str, Said] = {}
    for side in mapping.sides.values():
        found |= {f"{side.name}.{n}": Said(text, side.where) for n, text in _side(side) if text}
    for field in mapping.fields.values():
        name = f"config.{field.name}"
        found |= {f"{name}.{n}": Said(text, field.where) for n, text in _field(field)}
    where = mapping.document.where_key
    if carried := [*map(str, mapping.carry), *(["rest"] if mapping.carry_rest else [])]:
        found["config.carry"] = Said(", ".join(carried), where(("config", "carry")))
    if mapping.files:
        found["files"] = Said(", ".join(mapping.files), where(("files",)))
    for index, size in mapping.dims.items():
        found[f"dims.{index}"] = Said(_text(size), where(("dims", index)))
    for name, preset in mapping.presets.items():
        for field_name, value in preset.items():
            at = where(("presets", name, field_name))
            found[f"presets.{name}.{field_name}"] = Said(told(value), at)
    for name, value in (mapping.example or {}).items():
        found[f"example.{name}"] = Said(told(value), where(("example", name)))
    return found


def _side(side: Side) -> Iterator[tuple[str, str]]:
    yield "tensors", _files(side.tensors)
    yield "config", _config(side.config)
    yield "root", side.root
    yield "dtype", side.dtype or ""
    yield "model", side.model or ""
    yield "ignore.tensors", ", ".join(pattern.text for pattern in side.ignore_tensors)
    yield "ignore.config", ", ".join(map(str, side.ignore_config))
    for choice in side.choices:
        for one in choice:
            parts = (_files(one.tensors or ()), _config(one.config), one.root or "")
            yield f"layouts.{one.name}", ", ".join(filter(None, parts)) or "there"


def _files(patterns: tuple[FilePattern, ...]) -> str:
    below = [f" below {one.prefix.text}" if one.prefix else "" for one in patterns]
    return ", ".join(o.pattern.text + rest for o, rest in zip(patterns, below, strict=True))


def _config(config: ConfigFile | None) -> str:
    return ":".join((config.file, *config.at)) if config else ""


def _field(field: ConfigField) -> Iterator[tuple[str, str]]:
    for side, places in field.places.items():
        if places.entries:
            yield side, _choice(places)
    for side, default in field.defaults.items():
        yield f"default.{side}", default.text
    for side, when in field.whens.items():
        yield f"when.{side}", when.text
    if field.value.entries:
        yield "value", _choice(field.value)
    if field.compute is not None:
        yield "compute", field.compute.text
    for name, value in (("type", field.type), ("each", field.each)):
        if value:
            yield name, value
    if field.words:
        yield "values", told(field.words)
    if field.optional:
        yield "optional", "true"


def _choice(choice: Choice) -> str:
    """One value for all layouts, or one for each."""
    return ", ".join(
        _text(value) if layout is None else f"{layout}: {_text(value)}"
        for layout, value in choice.entries
    )


def _text(value: Any) -> str:
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return told(value)
