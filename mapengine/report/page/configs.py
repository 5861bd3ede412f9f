"""The config of both sides, side by side: every field, what is carried, what is left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.binding import Binding
from mapengine.binding.config_values import ABSENT, told
from mapengine.binding.names import UnboundName
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import ConfigField, ConfigPath, Side

FROM_A_FILE, CARRIED = "file", "carried"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: a file and a path in it."""

    file: str
    path: str


@dataclass(frozen=True, slots=True)
class FieldView:
    """A value on its way: where it is read, where it comes from, where it is written.

    `kind` is `file`, `carried`, `given`, `preset`, `constant`, `computed`, `default` or `none`;
    `origin` says more of it, where there is more to say.
    """

    name: str
    line: int | None
    read: tuple[Place, ...]
    value: str
    kind: str
    origin: str
    written: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class ConfigKeys:
    """What became of the config keys that are read, by `file: path`."""

    read: tuple[str, ...]
    carried: tuple[str, ...]
    ignored: tuple[str, ...]
    left: tuple[str, ...]


def field_views(binding: Binding) -> list[FieldView]:
    """The fields in the order of the file, then what is carried without a name."""
    fields = [_field(field, binding) for field in binding.mapping.fields.values()]
    named = {place for field in fields for place in field.written}
    carried = [place for place in _leaves(binding.configs) if place not in named]
    main = binding.read.config_file(binding.layout)
    return fields + [
        FieldView("", None, (Place(main.file if main else "", place.path),),
                  _value(binding.configs[place.file], place), CARRIED, "", (place,))
        for place in carried
        if not any(place.path.startswith(f"{one.path}.") for one in named)
    ]  # fmt: skip


def config_keys(binding: Binding, fields: Sequence[FieldView]) -> ConfigKeys:
    """Every key of the config files that are read, by what became of it."""
    read = [place for field in fields if field.kind != CARRIED for place in field.read]
    carried = [place for field in fields if field.kind == CARRIED for place in field.read]
    ignored = [_place(path, binding.read, binding) for path in binding.read.ignore_config]
    found: dict[str, list[str]] = {"read": [], "carried": [], "ignored": [], "left": []}
    for leaf in _leaves(_read_configs(binding)):
        kinds = zip(("read", "carried", "ignored"), (read, carried, ignored), strict=True)
        kind = next((kind for kind, over in kinds if any(_covers(p, leaf) for p in over)), "left")
        found[kind].append(f"{leaf.file}: {leaf.path}")
    return ConfigKeys(*map(tuple, found.values()))


def _field(field: ConfigField, binding: Binding) -> FieldView:
    names = binding.names
    read, written = (
        tuple(_place(path, side, binding) for path in field.paths(side.name, binding.layout))
        for side in (binding.read, binding.write)
    )
    there = tuple(p for p in written if config_values.look_up(
        binding.configs.get(p.file), _steps(p, binding.write, binding)) is not ABSENT)  # fmt: skip
    if field.name not in names.origins:
        why = "has no value" if field.name in names.failed else "not asked for"
        return FieldView(field.name, field.where.line, read, "", "none", why, there)
    origin = names.origins[field.name]
    with suppress(UnboundName, ExpressionError):
        value = told(names.value(field.name))
        return FieldView(field.name, field.where.line, read, value, *_kind(origin), there)
    return FieldView(field.name, field.where.line, read, "", "none", "has no value", there)


_KINDS = {"preset ": "preset", "computed: ": "computed", "the default, ": "default"}


def _kind(origin: str) -> tuple[str, str]:
    """What sort of origin it is, and what is left to say of it."""
    for start, kind in _KINDS.items():
        if origin.startswith(start):
            return kind, origin.removeprefix(start)
    return {"--set": "given", "constant": "constant"}.get(origin, FROM_A_FILE), ""


def _place(path: ConfigPath, side: Side, binding: Binding) -> Place:
    main = side.config_file(binding.layout)
    return Place(path.file or (main.file if main else ""), str(ConfigPath(path.steps)))


def _steps(place: Place, side: Side, binding: Binding) -> tuple[str, ...]:
    """The steps from the top of the file, of which the side's config may be a part."""
    main = side.config_file(binding.layout)
    inside = main.at if main and main.file == place.file else ()
    return (*inside, *_split(place.path))


def _split(path: str) -> tuple[str, ...]:
    parts = path.replace(r"\.", "\0").split(".")
    return tuple(part.replace("\0", ".") for part in parts)


def _read_configs(binding: Binding) -> dict[str, Any]:
    """The objects that fields read or that are left behind by name, by file."""
    main = binding.read.config_file(binding.layout)
    found = {main.file: binding.names.config.start(None)} if main else {}
    paths = [p for f in binding.mapping.fields.values()
             for p in f.paths(binding.read.name, binding.layout)]  # fmt: skip
    for path in (*paths, *binding.read.ignore_config):
        if path.file is not None and path.file not in found:
            found[path.file] = binding.names.config.start(path.file)
    return found


def _leaves(configs: dict[str, Any]) -> Iterator[Place]:
    for file, config in configs.items():
        with suppress(ExpressionError):
            for leaf in config_values.leaves(config):
                yield Place(file, str(ConfigPath(leaf)))


def _value(config: Any, place: Place) -> str:
    return told(config_values.look_up(config, _split(place.path)))


def _covers(place: Place, leaf: Place) -> bool:
    """Whether a path is that of a leaf, or of an object around it; one that is empty is all."""
    if place.file != leaf.file:
        return False
    path = place.path.removesuffix(".")
    return not path or leaf.path == path or leaf.path.startswith(f"{path}.")
