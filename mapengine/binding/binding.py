"""A mapping bound to one model: its numbers, its tensors, and the config of the other side."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.config_values import told
from mapengine.binding.inventory import (
    Address,
    Inventory,
    ResolvedFile,
    addressed,
    index_names,
)
from mapengine.binding.names import ModelNames, Scope, Settings, UnboundName
from mapengine.errors import Problem, suggest
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import (
    MISSING,
    ConfigField,
    ConfigFile,
    ConfigPath,
    Layout,
    Mapping,
    Side,
)
from mapengine.specs import DTYPES, StoredTensor


@dataclass(frozen=True)
class Binding:
    """What is known of one model before its rules are expanded.

    `tensors` are the tensors of the side that is read, by key and by the file indices (`ranks`)
    that stand in no key; `configs` are the objects to write, by file name.
    """

    mapping: Mapping
    read: Side
    write: Side
    layout: Layout
    names: ModelNames
    files: tuple[ResolvedFile, ...]
    ranks: tuple[str, ...]
    rank_ranges: dict[str, tuple[int | str, ...]]
    tensors: dict[Address, StoredTensor]
    configs: dict[str, dict[str, Any]]
    ignored: frozenset[str]
    problems: tuple[Problem, ...]

    @cached_property
    def ignored_below(self) -> tuple[str, ...]:
        """The ignored prefixes: entries that end in a dot."""
        return tuple(key for key in self.ignored if key.endswith("."))

    def origin(self, name: str) -> str:
        """Where the value of a config name came from, in words."""
        return self.names.origins.get(name, "")


def bind(
    mapping: Mapping,
    inventory: Inventory,
    layout: Layout,
    settings: Settings,
    read: str = "source",
) -> Binding:
    """Works out every name, finds every file, and writes the other side's config.

    Never raises for what is wrong with the checkpoint: `problems` lists it.
    """
    names = ModelNames(mapping, inventory, layout, settings, read)
    problems: list[Problem] = []
    for field in mapping.fields.values():
        with suppress(UnboundName, ExpressionError):  # these are told by `value`, or when written
            if field.when is None or names.evaluate(field.when) is not False:
                names.value(field.name)
    for index in mapping.dims:
        with suppress(UnboundName):
            names.range_of(index)
    files, found = _files(names)
    problems += found
    ranks = ranks_of(mapping, names.side, layout)
    tensors, found = addressed(inventory, files, ranks, names.side.root)
    problems += found
    configs = _configs(names, problems)
    problems += _unread(names)
    return Binding(
        mapping,
        names.side,
        names.other,
        layout,
        names,
        tuple(files),
        ranks,
        {rank: _values_of(rank, files) for rank in ranks},
        tensors,
        configs,
        _ignored(names, problems),
        (*names.problems, *_missing(names), *problems),
    )


def settings_problems(mapping: Mapping, settings: Settings) -> Iterator[Problem]:
    """What the user says that the mapping has no place for."""
    for name in settings.values:
        if name not in mapping.fields:
            known = ", ".join(mapping.fields)
            hint = suggest(name, mapping.fields) or f"known here: {known}"
            yield Problem("ME406", f"--set {name}: the mapping has no such name", help=hint)
    if settings.preset and settings.preset not in mapping.presets:
        known = ", ".join(mapping.presets) or "none"
        yield Problem("ME406", f"there is no preset {settings.preset!r}", help=f"presets: {known}")
    if settings.dtype and settings.dtype not in DTYPES:
        hint = suggest(settings.dtype, DTYPES) or f"dtypes: {', '.join(DTYPES)}"
        yield Problem("ME406", f"there is no dtype {settings.dtype!r}", help=hint)


def _files(names: ModelNames) -> tuple[list[ResolvedFile], list[Problem]]:
    try:
        files, problems = names.files()
    except ExpressionError as error:
        where = error.where or names.side.where
        return [], [Problem("ME405", str(error), where, names.side.name, error.help)]
    except UnboundName:
        return [], []
    if not files and not problems:
        texts = " or ".join(p.pattern.text for p in names.side.files(names.layout))
        message = f"there is no {texts} in {names.inventory.folder}"
        problems = [Problem("ME510", message, names.side.where, f"{names.side.name}.tensors")]
    return files, problems


def ranks_of(mapping: Mapping, side: Side, layout: Layout) -> tuple[str, ...]:
    """The file indices that stand in no key: every key exists once for each of their values."""
    in_keys: set[str] = set()
    for rule in mapping.rules:
        if rule.holds_in(layout):
            keys = rule.sources if side.name == "source" else rule.targets
            in_keys.update(*(pattern.names for pattern in keys))
    ranks: dict[str, None] = {}
    for pattern in side.files(layout):
        prefix = pattern.prefix.names if pattern.prefix else frozenset()
        for name in index_names(pattern, mapping.dims.get, mapping.fields):
            if name not in in_keys and name not in prefix:
                ranks[name] = None
    return tuple(ranks)


def _ignored(names: ModelNames, problems: list[Problem]) -> frozenset[str]:
    """Every key, and prefix, that the side's `ignore` names, its indices filled in."""
    keys: set[str] = set()
    for pattern in names.side.ignore_tensors:
        indices = sorted(pattern.names & names.mapping.dims.keys())
        try:
            ranges = [names.range_of(name) or () for name in indices]
            for values in product(*ranges):
                keys.add(pattern.fill(Scope(names, dict(zip(indices, values, strict=True)))))
        except ExpressionError as error:
            where = error.where or names.side.where
            problems.append(Problem("ME405", str(error), where, "ignore", error.help))
        except UnboundName:
            continue
    return frozenset(keys)


def _values_of(rank: str, files: list[ResolvedFile]) -> tuple[int | str, ...]:
    return tuple(dict.fromkeys(value for f in files for name, value in f.indices if name == rank))


def _missing(names: ModelNames) -> Iterator[Problem]:
    """One problem for all the names that no file says."""
    mapping, main = names.mapping, names.side.config_file(names.layout)
    if not names.missing or (not isinstance(names.config(None), AnyMapping) and main):
        return
    listed = []
    for name in names.missing:
        paths = mapping.fields[name].paths(names.side.name, names.layout)
        listed.append(f"{name} ({paths[0]})" if paths else name)
    message = f"no file says {', '.join(listed)}"
    presets = f"--preset {' | '.join(mapping.presets)}, or " if mapping.presets else ""
    help = f"{presets}--set {names.missing[0]}=VALUE"
    where = mapping.fields[names.missing[0]].where
    yield Problem("ME401", message, where, f"config.{names.missing[0]}", help)


def _unread(names: ModelNames) -> Iterator[Problem]:
    """What stands in the main config and no field reads, nothing carries and nobody ignores."""
    mapping, side = names.mapping, names.side
    config = names.config(None)
    main = side.config_file(names.layout)
    if main is None or (config is config_values.ABSENT and not names.missing):
        return
    if not isinstance(config, AnyMapping):
        yield Problem("ME402", no_config(names, main, config), side.where, f"{side.name}.config")
        return
    if mapping.carry_rest:
        return
    covered = [*map(_steps_of, (*mapping.carry, *side.ignore_config)), *_read_paths(names)]
    left = [
        str(ConfigPath(leaf))
        for leaf in config_values.leaves(config)
        if not any(_covers(steps, leaf) for steps in covered)
    ]
    if left:
        verb = "is" if len(left) == 1 else "are"
        shown = ", ".join(left[:12]) + (f" and {len(left) - 12} more" if len(left) > 12 else "")
        yield Problem(
            "ME403",
            f"{main.file}: {shown} {verb} read by no field",
            side.where,
            help="carry, ignore.config, or a field",
        )


def no_config(names: ModelNames, main: ConfigFile, found: Any) -> str:
    """That the config is not there, or is no object."""
    at = f" at {'.'.join(main.at)}" if main.at else ""
    if main.file not in names.inventory.names:
        return f"there is no {main.file} in {names.inventory.folder}"
    if found is config_values.ABSENT:
        return f"{main.file} holds nothing{at}"
    return f"{main.file} holds {told(found)}{at}, where an object is wanted"


def _read_paths(names: ModelNames) -> Iterator[tuple[str, ...]]:
    main = names.side.config_file(names.layout)
    for field in names.mapping.fields.values():
        for path in field.paths(names.side.name, names.layout):
            if path.file is None or (main and path.file == main.file and not main.at):
                yield path.steps


def _steps_of(path: ConfigPath) -> tuple[str, ...]:
    """The steps of a path that may end in a dot."""
    return path.steps[:-1] if path.steps[-1] == "" else path.steps


def _covers(steps: tuple[str, ...], leaf: tuple[str, ...]) -> bool:
    return leaf[: len(steps)] == steps


def _configs(names: ModelNames, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """The config objects of the side that is written, and a check of what must be equal."""
    main = names.other.config_file(names.layout)
    configs: dict[str, dict[str, Any]] = {}
    if main is not None:
        configs[main.file] = {}
        _carry(names, configs[main.file])
    written: dict[tuple[str, ConfigPath], ConfigField] = {}
    for field in sorted(names.mapping.fields.values(), key=_depth(names)):
        where, path = field.where, f"config.{field.name}"
        try:
            if disagreement := _disagreement(names, field):
                problems.append(disagreement)
            for file, at, value in _written(names, field, main.file if main else "config.json"):
                other = written.setdefault((file, at), field)
                if other is not field:
                    message = f"{file}: {at} is written twice: by {other.name} ({other.where}) too"
                    problems.append(Problem("ME409", message, where, path))
                config_values.put(configs.setdefault(file, {}), at.steps, value)
        except ExpressionError as error:
            problems.append(Problem("ME405", str(error), error.where or where, path, error.help))
        except UnboundName:
            continue
    if main is not None:
        for step in reversed(main.at):
            configs[main.file] = {step: configs[main.file]}
    return configs


def _depth(names: ModelNames) -> Any:
    """Fields that write whole objects come before fields that write into them."""

    def depth(field: ConfigField) -> int:
        paths = field.paths(names.other.name, names.layout)
        return max((len(path.steps) for path in paths), default=0)

    return depth


def _disagreement(names: ModelNames, field: ConfigField) -> Problem | None:
    """A constant or a computed field that is also in the file, and is not the same there."""
    constant = field.value.at(names.layout)
    if field.compute is None and constant is MISSING:
        return None
    if field.when is not None and not names.holds(field.when):
        return None
    value, origin = names.value(field.name), names.origins[field.name]
    meant = constant if field.compute is None else names.evaluate(field.compute)
    if origin == "--set" or config_values.equal(value, meant):
        return None
    where, path = field.where, f"config.{field.name}"
    if field.compute is None:
        message = f"{origin} is {told(value)}, where {told(meant)} is wanted"
        return Problem("ME407", message, where, path)
    message = f"{origin} is {told(value)}, but {field.compute.text} is {told(meant)}"
    return Problem("ME407", message, where, path, names.sources(field.compute))


def _written(
    names: ModelNames, field: ConfigField, main: str
) -> Iterator[tuple[str, ConfigPath, Any]]:
    """Where a field is written, and what: file, path and value."""
    paths = field.paths(names.other.name, names.layout)
    if not paths or (field.when is not None and not names.holds(field.when)):
        return
    value = names.value(field.name)
    if value is None and field.optional:
        return
    if names.other.name == "target":
        value = config_values.translate(value, field.words, names.origins[field.name])
    for path in paths:
        yield path.file or main, ConfigPath(path.steps), value


def _carry(names: ModelNames, written: dict[str, Any]) -> None:
    config = names.config(None)
    if config is config_values.ABSENT:
        return
    carried: list[tuple[str, ...]] = [path.steps for path in names.mapping.carry]
    if names.mapping.carry_rest:
        left = [*map(_steps_of, names.side.ignore_config), *_read_paths(names)]
        carried = [
            leaf
            for leaf in config_values.leaves(config)
            if not any(_covers(steps, leaf) for steps in left)
        ]
    for steps in carried:
        value = config_values.look_up(config, steps)
        if value is not config_values.ABSENT:
            config_values.put(written, steps, value)
