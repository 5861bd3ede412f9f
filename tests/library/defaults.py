"""What a mapping says a config means that lacks a word, beside what transformers says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import transformers

from mapengine.binding.config_values import ABSENT, equal, look_up
from mapengine.language.mapping import ConfigField, Mapping


def other_defaults(mapping: Mapping) -> Iterator[tuple[str, str, Any, Any]]:
    """Field, path, default, and that of transformers, where they are not the same.

    Asked are constants alone, and paths that the config class has: what a default is worked out
    from may be another value in every config.
    """
    model = mapping.target.model
    meant = _defaults(model) if model else {}
    for field in mapping.fields.values():
        value = _constant(field)
        if value is ABSENT:
            continue
        layouts = mapping.target.layouts()
        for path in {path for layout in layouts for path in field.paths("target", layout)}:
            told = ABSENT if path.file else look_up(meant, path.steps)
            if told is not ABSENT and not equal(told, value):
                yield field.name, str(path), value, told


@cache
def _defaults(model: str) -> dict[str, Any]:
    defaults: dict[str, Any] = getattr(transformers, model).config_class().to_dict()
    return defaults


def _constant(field: ConfigField) -> Any:
    """The default of the target; a field that has no path on the source takes the one there is."""
    told = field.defaults.get("target")
    if told is None and not field.places["source"].entries:
        told = field.defaults.get("source")
    if told is None or told.names or told.calls:
        return ABSENT
    return told.evaluate({})
