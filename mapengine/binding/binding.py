"""A mapping bound to one model: its numbers, its tensors, and the config of the other side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.config_values import ValueProblem
from mapengine.binding.configs import unread, written_configs
from mapengine.binding.inventory import (
    Address,
    Inventory,
    ResolvedFile,
    addressed,
    index_names,
)
from mapengine.binding.names import ModelNames, Settings, UnboundName
from mapengine.binding.outputs import output_files
from mapengine.binding.scope import Scope
from mapengine.errors import Problem, suggest
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import (
    Layout,
    Mapping,
    Side,
)
from mapengine.specs import DTYPES
from mapengine.views import Content

MOST_IGNORED = 1_000_000


@dataclass(frozen=True)
class Binding:
    """What is known of one model before its rules are expanded.

    `tensors` are the tensors of the side that is read, by key and by the file indices (`ranks`)
    that stand in no key; `outputs` are the files of the other side, with such indices of their own
    (`written_ranks`), and `configs` its objects, by file name.
    """

    mapping: Mapping
    read: Side
    write: Side
    layout: Layout
    names: ModelNames
    files: tuple[ResolvedFile, ...]
    ranks: tuple[str, ...]
    rank_ranges: dict[str, tuple[int | str, ...]]
    tensors: dict[Address, Content]
    outputs: tuple[ResolvedFile, ...]
    written_ranks: tuple[str, ...]
    written_rank_ranges: dict[str, tuple[int | str, ...]]
    configs: dict[str, dict[str, Any]]
    ignored: frozenset[str]
    problems: tuple[Problem, ...]

    def ignores(self, key: str) -> bool:
        """Whether a tensor of the side that is read is left behind by name."""
        return key in self.ignored or key.startswith(self._ignored_below)

    @cached_property
    def _ignored_below(self) -> tuple[str, ...]:
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
    named = mapping.named()
    for field in mapping.fields.values():
        with suppress(UnboundName, ExpressionError):  # these are told by `value`, or when written
            if names.wants(field, named):
                names.value(field.name)
    for index in mapping.dims:
        with suppress(UnboundName):
            names.range_of(index)
    files, found = _files(names)
    problems += found
    ranks = ranks_of(mapping, names.side, layout)
    tensors, found = addressed(inventory, files, ranks, names.side.root_in(layout))
    problems += found
    outputs, found = _outputs(names)
    problems += found
    written_ranks = ranks_of(mapping, names.other, layout)
    configs = written_configs(names, problems)
    problems += unread(names)
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
        tuple(outputs),
        written_ranks,
        {rank: _values_of(rank, outputs) for rank in written_ranks},
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
        hint = suggest(settings.preset, mapping.presets) or f"presets: {known}"
        yield Problem("ME406", f"there is no preset {settings.preset!r}", help=hint)
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
        held = ", ".join(sorted(names.inventory.names)[:8]) or "no file"
        path, help = f"{names.side.name}.tensors", f"{names.inventory.folder} holds {held}"
        problems = [Problem("ME510", message, names.side.where, path, help)]
    return files, problems


def _outputs(names: ModelNames) -> tuple[list[ResolvedFile], list[Problem]]:
    try:
        return output_files(names, names.other), []
    except ExpressionError as error:
        where = error.where or names.other.where
        return [], [Problem("ME405", str(error), where, names.other.name, error.help)]
    except UnboundName:
        return [], []


def ranks_of(mapping: Mapping, side: Side, layout: Layout) -> tuple[str, ...]:
    """The file indices that stand in no key: every key exists once for each of their values."""
    in_keys: set[str] = set()
    for rule in mapping.rules:
        if rule.holds_in(layout):
            in_keys.update(*(pattern.names for pattern in rule.keys(side.name)))
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
            if math.prod(map(len, ranges)) > MOST_IGNORED:
                message = f"{pattern.text} would be more than {MOST_IGNORED:,} keys"
                raise ValueProblem(message, "an entry that ends in a dot covers all below it")
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
    if not names.missing or (not isinstance(names.config.start(None), AnyMapping) and main):
        return
    listed = []
    for name in names.missing:
        paths = mapping.fields[name].paths(names.side.name, names.layout)
        listed.append(f"{name} ({paths[0]})" if paths else name)
    message = f"no file says {', '.join(listed)}"
    presets = f"--preset {' | '.join(mapping.presets)}, or " if mapping.presets else ""
    config = names.config.start(None)
    found = mapping.fields[names.missing[0]].paths(names.side.name, names.layout)
    leaves = (".".join(leaf) for leaf in config_values.leaves(config)) if config else ()
    near = suggest(str(found[0]), leaves) if found else ""
    help = f"{near} {presets}--set {names.missing[0]}=VALUE".lstrip()
    where = mapping.fields[names.missing[0]].where
    yield Problem("ME401", message, where, f"config.{names.missing[0]}", help)
