"""Two checkpoints by what their headers and configs say. Nothing is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapengine.checkpoints.folder import describe_file, read_json
from mapengine.checkpoints.inspection import Folder, is_config, read_folder
from mapengine.errors import CheckpointError
from mapengine.fold import fold
from mapengine.locations import URL, Location
from mapengine.specs import SUFFIXES, FileContents, StoredTensor, TensorSpec

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING", "__slots__": ()})()
"""What a side does not have, told apart from null."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The headers of a folder, or of one file, and its configs by file."""

    path: Location
    folder: Location
    files: Mapping[str, FileContents]
    configs: Mapping[str, Any]

    @property
    def tensors(self) -> dict[str, StoredTensor]:
        """By key; with the file before it where a key is in several files."""
        counts = Counter(key for file in self.files.values() for key in file.tensors)
        return {
            key if counts[key] == 1 else f"{name}: {key}": one
            for name, file in self.files.items()
            for key, one in file.tensors.items()
        }


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Keys that differ in numbers alone, and what they are on either side; None where not there."""

    keys: str
    count: int
    one: TensorSpec | None
    other: TensorSpec | None


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A value of a config, on either side; MISSING where it is not there."""

    file: str
    path: str
    one: Any
    other: Any


@dataclass(frozen=True, slots=True)
class HeaderDiff:
    """What is not the same of two checkpoints; `same` counts the tensors that are alike."""

    tensors: tuple[TensorGroup, ...]
    configs: tuple[ConfigChange, ...]
    same: int

    @property
    def is_empty(self) -> bool:
        return not self.tensors and not self.configs


def read_checkpoint(path: Location) -> Checkpoint:
    """Raises `CheckpointError` with every file that cannot be read."""
    if path.suffix in SUFFIXES and (isinstance(path, URL) or path.is_file()):
        return Checkpoint(path, path.parent, {path.name: describe_file(path)}, {})
    folder: Folder = read_folder(path)
    if folder.problems:
        raise CheckpointError(*folder.problems)
    configs = {name: read_json(path / name) for name in sorted(folder.names) if is_config(name)}
    return Checkpoint(path, path, folder.files, configs)


def compare_headers(one: Checkpoint, other: Checkpoint) -> HeaderDiff:
    """Keys, shapes, dtypes and config values. How the tensors lie in files is no difference."""
    first, second = one.tensors, other.tensors
    specs = {
        key: (_spec(first.get(key)), _spec(second.get(key))) for key in first.keys() | second.keys()
    }
    order = [*first, *(key for key in second if key not in first)]
    changed: dict[tuple[TensorSpec | None, TensorSpec | None], list[str]] = {}
    for key in order:
        if specs[key][0] != specs[key][1]:
            changed.setdefault(specs[key], []).append(key)
    groups = [
        TensorGroup(keys, count, *both) for both, listed in changed.items()
        for keys, count in fold(listed)
    ]  # fmt: skip
    same = sum(one == other for one, other in specs.values())
    return HeaderDiff(tuple(groups), tuple(_config_changes(one, other)), same)


def _spec(stored: StoredTensor | None) -> TensorSpec | None:
    return stored.spec if stored is not None else None


def _config_changes(one: Checkpoint, other: Checkpoint) -> Iterator[ConfigChange]:
    configs = _configs(one, alone=len(other.files) == 1), _configs(other, len(one.files) == 1)
    for file in sorted(configs[0].keys() | configs[1].keys()):
        first, second = (dict(leaves(config.get(file, {}))) for config in configs)
        for path in [*first, *(path for path in second if path not in first)]:
            values = first.get(path, MISSING), second.get(path, MISSING)
            if not _equal(*values):
                yield ConfigChange(file, path, *values)


def _configs(checkpoint: Checkpoint, alone: bool) -> dict[str, Any]:
    """The configs by file, and the plain values beside the tensors of the files that have any.

    Where there is one tensor file on either side its name does not matter.
    """
    alone = alone and len(checkpoint.files) == 1
    inside = {
        "the tensor file" if alone else name: file.objects
        for name, file in checkpoint.files.items()
        if file.objects
    }
    return {**checkpoint.configs, **inside}


def leaves(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested objects, by path; an empty object is one, and a list."""
    if isinstance(value, Mapping) and (value or not above):
        for key, inner in value.items():
            yield from leaves(inner, f"{above}.{key}" if above else str(key))
    else:
        yield above, value


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are one in JSON: 1 is not true, and not 1.0."""
    return type(one) is type(other) and bool(one == other)
