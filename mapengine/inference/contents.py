"""A checkpoint as inference sees it: tensors by address, their bits, and its configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mapengine.checkpoints import storage
from mapengine.checkpoints.folder import describe_file, read_json, read_text
from mapengine.checkpoints.links import open_file
from mapengine.errors import CheckpointError, MapengineError, Problem
from mapengine.inference.files import Address, Entries, addressed
from mapengine.specs import (
    DTYPES,
    INDEX_SUFFIX,
    RECEIPT,
    SUFFIXES,
    YAML_SUFFIXES,
    FileContents,
    StoredTensor,
    TensorSpec,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NOT_CONFIG = ("tokenizer", "special_tokens", "added_tokens", "vocab", "tekken", "preprocessor")
_KINDS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by address, and configs by file name; `at` is where the config lies in a tensor file.

    `entries` say which files the tensors are in, with the numbers in the names of those of each.
    """

    folder: Path
    tensors: Mapping[Address, StoredTensor]
    entries: Entries
    configs: Mapping[str, Any]
    main: str
    at: str
    companions: tuple[str, ...]

    def spec(self, address: Address) -> TensorSpec:
        return self.tensors[address].spec

    def bits(self, address: Address) -> Array:
        """A tensor's elements as unsigned integers of their size, in its shape."""
        import numpy as np

        stored = self.tensors[address]
        spec, at = stored.spec, stored.location
        kind = np.dtype(f"<{_KINDS[DTYPES[spec.dtype].size]}")
        if not spec.numel:
            return np.zeros(spec.shape, kind)
        steps = zip(spec.shape, at.strides, strict=True)
        count = 1 + sum((size - 1) * step for size, step in steps)
        raw = bytearray(count * kind.itemsize)
        with open_file(self.folder / at.file) as file:
            try:
                storage.read_at(file.fileno(), at.offset, memoryview(raw))
            except storage.ReadError as error:
                problem = Problem("ME501", f"{self.folder / at.file}: {error}")
                raise CheckpointError(problem) from error
        flat = np.frombuffer(raw, kind)
        strides = [step * kind.itemsize for step in at.strides]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, spec.shape, strides))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Headers and configs of a folder. Raises `CheckpointError` for what cannot be read."""
    names = storage.list_files(folder)
    files: dict[str, FileContents] = {}
    configs: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in sorted(names - {RECEIPT}):
        try:
            if PurePath(name).suffix in SUFFIXES:
                files[name] = describe_file(folder / name)
            elif _is_config(name):
                configs[name] = _read_config(folder / name)
        except MapengineError as error:
            problems += error.problems
    if problems:
        raise CheckpointError(*problems)
    if not any(contents.tensors for contents in files.values()):
        raise CheckpointError(Problem("ME501", f"{folder} has no file with tensors"))
    files = {name: contents for name, contents in files.items() if contents.tensors}
    entries, tensors = addressed(files)
    main, at = _main_config(configs, files)
    known = {*files, *configs}
    companions = [n for n in names - known if not n.endswith(INDEX_SUFFIX) and n != RECEIPT]
    return Checkpoint(folder, tensors, entries, configs, main, at, tuple(sorted(companions)))


def _is_config(name: str) -> bool:
    suffix = PurePath(name).suffix
    if name.endswith(INDEX_SUFFIX) or name.startswith(_NOT_CONFIG):
        return False
    return suffix in YAML_SUFFIXES or (
        suffix == ".json" and ("config" in name or name == "params.json")
    )


def _read_config(path: Path) -> Any:
    if path.suffix == ".json":
        return read_json(path)
    from mapengine.language.document import read_document

    return read_document(read_text(path), path.name).data


def _main_config(configs: dict[str, Any], files: Mapping[str, FileContents]) -> tuple[str, str]:
    """The file with the model's config; or, where there is none, its place in the tensor files."""
    known: list[str] = [name for name in ("params.json", "config.json") if name in configs]
    known += [n for n in configs if n not in known and n != "generation_config.json"]
    objects = next((one.objects for one in files.values() if one.objects), {})
    told = {key: value for key, value in objects.items() if isinstance(value, dict) and value}
    if known or not told:
        return (known[0] if known else ""), ""
    at = max(told, key=lambda key: sum(not isinstance(v, dict) for v in told[key].values()))
    configs[""] = told[at]
    return "", at
