"""What a checkpoint folder holds, from headers alone. Nothing is loaded, and torch stays out."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from mapengine.checkpoints import storage
from mapengine.checkpoints.folder import describe_files, read_json
from mapengine.checkpoints.indexes import check_index
from mapengine.checkpoints.links import open_file
from mapengine.errors import MapengineError, Problem
from mapengine.fold import fold
from mapengine.formats import recognise
from mapengine.locations import Location, location
from mapengine.specs import INDEX_SUFFIX, SUFFIXES, FileContents, StoredTensor, TensorSpec

_OBJECTS_SHOWN = 50
_VALUE_WIDTH = 80
_REPR = reprlib.Repr()  # which stops where enough is told: a short list may hold a long text often
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _VALUE_WIDTH // 2
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 10 * _VALUE_WIDTH


@dataclass(frozen=True, slots=True)
class Folder:
    """The headers and indexes of a folder; `problems` are those of files that cannot be read."""

    path: Location
    names: frozenset[str]
    files: Mapping[str, FileContents]
    indexes: Mapping[str, Any]
    problems: tuple[Problem, ...]
    follow_links: bool = False

    def read_json(self, name: str) -> Any:
        """A JSON file of it. Raises `CheckpointError`."""
        return read_json(self.path / name, self.follow_links)

    def listed(self, index: str) -> frozenset[str]:
        """The files an index names; empty where it is malformed, as `check_index` tells."""
        value = self.indexes.get(index)
        weight_map = value.get("weight_map") if isinstance(value, dict) else None
        files = weight_map.values() if isinstance(weight_map, dict) else ()
        return frozenset(file for file in files if isinstance(file, str))


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Tensors of one shape and dtype whose keys differ in numbers alone; `keys` is their fold."""

    keys: str
    count: int
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FileSummary:
    """One tensor file. `objects` are the plain values beside its tensors: path and value."""

    name: str
    format: str
    size: int
    tensors: int
    metadata: Mapping[str, str]
    objects: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A folder's tensor files, its keys folded, totals by dtype, and what is wrong with it."""

    folder: str
    files: tuple[FileSummary, ...]
    groups: tuple[KeyGroup, ...]
    dtypes: Mapping[str, Total]
    total: Total
    configs: tuple[str, ...]
    indexes: tuple[str, ...]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, for JSON."""
        return asdict(self)


def inspect(folder: str | Location, follow_links: bool = False) -> Inspection:
    """What a folder holds. Raises `CheckpointError` only where it cannot be listed."""
    read = read_folder(location(folder), follow_links)
    tensors = [pair for contents in read.files.values() for pair in contents.tensors.items()]
    by_dtype: dict[str, list[TensorSpec]] = {}
    for _, stored in tensors:
        by_dtype.setdefault(stored.spec.dtype, []).append(stored.spec)
    return Inspection(
        folder=str(folder),
        files=tuple(_summary(read, name, contents) for name, contents in read.files.items()),
        groups=tuple(key_groups(tensors)),
        dtypes={dtype: _total(specs) for dtype, specs in sorted(by_dtype.items())},
        total=_total(stored.spec for _, stored in tensors),
        configs=tuple(sorted(name for name in read.names if is_config(name))),
        indexes=tuple(read.indexes),
        problems=(*read.problems, *index_problems(read)),
    )


def read_folder(path: Location, follow_links: bool = False) -> Folder:
    """The headers of every tensor file of a folder, whatever its name."""
    names = storage.list_files(path)
    files: dict[str, FileContents] = {}
    indexes: dict[str, Any] = {}
    problems: list[Problem] = []
    found = dict(describe_files(path, filter(_holds_tensors, names), follow_links))
    for name in sorted(names):
        try:
            if name in found:
                files[name] = found[name]()
            elif name.endswith(INDEX_SUFFIX):
                indexes[name] = read_json(path / name, follow_links)
        except MapengineError as error:
            problems += error.problems
    return Folder(path, names, files, indexes, tuple(problems), follow_links)


def _holds_tensors(name: str) -> bool:
    return PurePath(name).suffix in SUFFIXES


def index_problems(folder: Folder) -> Iterator[Problem]:
    """What the indexes say that headers and files do not bear out."""
    for name, index in folder.indexes.items():
        yield from check_index(index, name, folder.names, folder.files)


def key_groups(tensors: Iterable[tuple[str, StoredTensor]]) -> Iterator[KeyGroup]:
    """The keys of each shape and dtype, folded, in the order of the first of each."""
    by_spec: dict[TensorSpec, list[str]] = {}
    for key, stored in tensors:
        by_spec.setdefault(stored.spec, []).append(key)
    for spec, keys in by_spec.items():
        for pattern, count in fold(keys):
            yield KeyGroup(pattern, count, spec.dtype, spec.shape, count * spec.nbytes)


def _summary(folder: Folder, name: str, contents: FileContents) -> FileSummary:
    with open_file(folder.path / name, folder.follow_links) as file:
        format = recognise(name, file.read(16))
    leaves = list(_leaves(contents.objects))
    more = len(leaves) - _OBJECTS_SHOWN
    notes = (f"{more} more values beside the tensors are not shown",) if more > 0 else ()
    return FileSummary(
        name=name,
        format=format.name if format else "unknown",
        size=contents.size,
        tensors=len(contents.tensors),
        metadata=contents.metadata,
        objects=tuple((path, _text(value)) for path, value in leaves[:_OBJECTS_SHOWN]),
        notes=(*contents.notes, *notes),
    )


def _leaves(fields: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values of nested dicts, each with its path."""
    for key, value in fields.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}/")
        else:
            yield path, value


def _text(value: Any) -> str:
    """A plain value as it is told: cut where it is long."""
    text = value if isinstance(value, str) else _REPR.repr(value)
    return text if len(text) <= _VALUE_WIDTH else text[:_VALUE_WIDTH] + "..."


def _total(specs: Iterable[TensorSpec]) -> Total:
    listed = list(specs)
    return Total(len(listed), sum(s.numel for s in listed), sum(s.nbytes for s in listed))


def is_config(name: str) -> bool:
    """Whether a file is one that says what a model is, by its name."""
    return name == "params.json" or name.endswith("config.json")
