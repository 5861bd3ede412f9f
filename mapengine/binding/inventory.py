"""What a checkpoint folder holds, as values: names, headers and configs, no data."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any

from mapengine.binding.config_values import ValueProblem
from mapengine.errors import Problem
from mapengine.language.expressions import Names
from mapengine.language.mapping import FilePattern
from mapengine.specs import FileContents
from mapengine.views import Content, Lazy

MOST_FILES = 100_000
Indices = tuple[tuple[str, int | str], ...]
Address = tuple[str, tuple[int | str, ...]]
"""A source tensor: its key, and the values of the file indices that are in no key (`rank`)."""


_WIDEST_GAP = 8


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file of a plan, as if it were there: its tensors are still to be made."""

    tensors: Mapping[str, Lazy]
    size: int
    objects: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """One folder: the names in it, the headers of its tensor files, its config files parsed."""

    folder: str
    names: frozenset[str]
    files: Mapping[str, FileContents | PlannedFile] = field(default_factory=dict)
    configs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedFile:
    """A file of the checkpoint, with the indices its pattern was filled with."""

    name: str
    indices: Indices
    prefix: str


def wildcard_match(pattern: FilePattern, names: frozenset[str]) -> list[str]:
    """The names a pattern could mean: braces and `*` taken for anything, in order."""
    if pattern.is_plain:
        plain = pattern.pattern.fill({})
        return [plain] if plain in names else sorted(shards_of(plain, names))
    text = pattern.pattern.text if pattern.is_glob else pattern.pattern.wildcard()
    matches = re.compile(fnmatch.translate(text)).match
    return sorted(name for name in names if matches(name))


def shards_of(name: str, names: Iterable[str]) -> set[str]:
    """The names that are numbered shards of one: `model-00001-of-00002.safetensors`."""
    stem, dot, suffix = name.rpartition(".")
    shard = re.compile(rf"{re.escape(stem)}-[0-9]{{5,}}-of-[0-9]{{5,}}{re.escape(dot + suffix)}")
    return {one for one in names if shard.fullmatch(one)}


def resolve(
    patterns: Sequence[FilePattern],
    names: frozenset[str],
    range_of: Callable[[str], Sequence[int | str] | None],
    scope: Callable[[dict[str, int | str]], Any] = Names,
) -> tuple[list[ResolvedFile], list[Problem]]:
    """The files that `patterns` mean in a folder, each once, and what is wrong with them.

    `range_of` gives the range of an index declared in `dims`, None for one that is not: that one
    counts 0, 1, 2, ... as the files are there. `scope` makes names out of index values.
    """
    found: dict[str, ResolvedFile] = {}
    made: list[tuple[FilePattern, list[str], set[str]]] = []
    for pattern in patterns:
        there = wildcard_match(pattern, names)
        if not there:
            continue
        if pattern.is_glob or pattern.is_plain:
            prefix = pattern.prefix.fill(scope({})) if pattern.prefix else ""
            filled = [ResolvedFile(name, (), prefix) for name in there]
        else:
            filled = _filled(pattern, there, range_of, scope)
            made.append((pattern, there, {file.name for file in filled}))
        for file in filled:
            if file.name in names:
                found.setdefault(file.name, file)
    problems = [
        problem
        for pattern, there, filled_names in made
        for problem in _surplus_and_missing(
            pattern, filled_names, filled_names.union(there) & names - (found.keys() - filled_names)
        )
    ]
    return list(found.values()), problems


def index_names(pattern: FilePattern, range_of: Callable[[str], Any], known: Any) -> list[str]:
    """The names in a file pattern that are indices: declared in `dims`, or nobody's."""
    names = pattern.pattern.names | (pattern.prefix.names if pattern.prefix else frozenset())
    return sorted(name for name in names if range_of(name) is not None or name not in known)


def _filled(
    pattern: FilePattern,
    there: Sequence[str],
    range_of: Callable[[str], Sequence[int | str] | None],
    scope: Callable[[dict[str, int | str]], Any],
) -> list[ResolvedFile]:
    base = scope({})
    names = index_names(pattern, range_of, getattr(base, "known", ()))
    ranges = {name: range_of(name) for name in names}
    free = [name for name, values in ranges.items() if values is None]
    if len(free) > 1:
        message = f"{pattern.pattern.text}: {' and '.join(free)} have no range"
        raise ValueProblem(message, "give all but one of them a range under dims")

    def files(**counted: int) -> list[ResolvedFile]:
        fixed = [(counted[n],) if n in counted else ranges[n] or () for n in names]
        if math.prod(map(len, fixed)) > MOST_FILES:
            raise ValueProblem(f"{pattern.pattern.text} would be more than {MOST_FILES:,} files")
        return [_file(pattern, dict(zip(names, v, strict=True)), scope) for v in product(*fixed)]

    return _counted(free[0], files, set(there)) if free else files()


def _file(
    pattern: FilePattern, indices: dict[str, int | str], scope: Callable[[dict[str, Any]], Any]
) -> ResolvedFile:
    inside = scope(indices)
    prefix = pattern.prefix.fill(inside) if pattern.prefix else ""
    return ResolvedFile(pattern.pattern.fill(inside), tuple(indices.items()), prefix)


def _counted(
    index: str, files: Callable[..., list[ResolvedFile]], there: set[str]
) -> list[ResolvedFile]:
    """The files of 0, 1, 2, ... up to the last one that is there; no wider a gap than that."""
    found: list[ResolvedFile] = []
    since: list[ResolvedFile] = []
    gap, names = 0, set[str]()
    for number in count():
        since += (made := files(**{index: number}))
        if names.issuperset(file.name for file in made):
            return found  # the pattern does not count up: it makes the same names again
        names.update(file.name for file in made)
        gap = 0 if any(file.name in there for file in made) else gap + 1
        if gap == 0:
            found, since = [*found, *since], []
        if gap > _WIDEST_GAP:
            return found
    raise AssertionError


def _surplus_and_missing(
    pattern: FilePattern, filled: set[str], there: set[str]
) -> Iterator[Problem]:
    text = pattern.pattern.text
    known = _some(sorted(there))
    if missing := sorted(filled - there):
        yield Problem("ME511", f"{_some(missing)} missing ({known} there)", pattern.where)
    if surplus := sorted(there - filled):
        message = f"{_some(surplus)} there, but {text} does not make it"
        yield Problem("ME512", message, pattern.where)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{', '.join(names[:4])}{more} {'is' if len(names) == 1 else 'are'}"


def addressed(
    inventory: Inventory, files: Sequence[ResolvedFile], ranks: Sequence[str], root: str = ""
) -> tuple[dict[Address, Content], list[Problem]]:
    """Every tensor of `files` by key and rank, and a problem for each that is there twice."""
    tensors: dict[Address, Content] = {}
    homes: dict[Address, str] = {}
    doubles: dict[tuple[str, str], list[str]] = {}
    for file in files:
        indices = dict(file.indices)
        rank = tuple(indices[name] for name in ranks if name in indices)
        for key, stored in inventory.files[file.name].tensors.items():
            if not key.startswith(root):
                continue
            address = (file.prefix + key[len(root) :], rank)
            if address in tensors:
                pair = (homes[address], file.name)
                doubles.setdefault(pair, []).append(address[0])
            else:
                tensors[address], homes[address] = stored, file.name
    return tensors, [
        Problem(
            "ME513",
            f"{len(keys)} tensor{'s are' if len(keys) > 1 else ' is'} both in {a} and in {b}; "
            f"first: {keys[0]}",
            help="a copy does not belong in the folder; parts of one whole are told apart by "
            "the `prefix` of their files, or by an index in the file pattern",
        )
        for (a, b), keys in doubles.items()
    ]
