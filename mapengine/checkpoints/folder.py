"""Checkpoint folders: their tensor files, index, config, companions. Sees no rule."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from mapengine.binding.inventory import Inventory, wildcard_match
from mapengine.checkpoints import storage
from mapengine.errors import CheckpointError, MapengineError, Problem, on_one_line
from mapengine.fold import fold
from mapengine.formats import recognise
from mapengine.formats.json_bounds import MOST_PARTS, has_too_many_parts
from mapengine.language.expression_syntax import CONFIG_QUESTIONS
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.language.mapping import Side
from mapengine.language.reader import read_path
from mapengine.language.scalars import MAX_NUMBER_LENGTH
from mapengine.specs import INDEX_SUFFIX, SUFFIXES, FileContents

_HEAD = 4096
_SHOWN = 20
_WIDTH = 200
MAX_DEPTH = 64
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} deep"


def take_inventory(
    folder: Path, mapping: MappingFile, side: Side, *, indexes: bool = True
) -> Inventory:
    """Names, headers and configs of a folder, as far as any layout of the side wants them.

    Its `indexes` are held against it, unless its tensors are not what is wanted. Raises
    `CheckpointError` with every file that cannot be read, and every index that lies.
    """
    names = storage.list_files(folder)
    problems: list[Problem] = []
    files: dict[str, FileContents] = {}
    configs: dict[str, Any] = {}
    for name in sorted(_tensor_files(side, names)):
        with _collecting(problems, folder / name):
            files[name] = describe_file(folder / name)
    for name in sorted(_config_files(mapping, side) & names - files.keys()):
        with _collecting(problems, folder / name):
            configs[name] = _read_config(folder / name)
    for name in sorted(name for name in names if name.endswith(INDEX_SUFFIX)):
        if indexes and _concerns(name, files):
            with _collecting(problems, folder / name):
                problems += check_index(read_json(folder / name), name, names, files)
    if problems:
        raise CheckpointError(*problems)
    return Inventory(str(folder), names, files, configs)


class _collecting:  # noqa: N801  (reads as a verb where it is used)
    """Keeps the problems of an error and goes on."""

    def __init__(self, problems: list[Problem], path: Path) -> None:
        self.problems, self.path = problems, path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        if isinstance(error, OSError):
            reason = os.strerror(error.errno) if error.errno else str(error)
            self.problems.append(Problem("ME501", f"{self.path}: {reason}"))
            return True
        if isinstance(error, MapengineError):
            self.problems += error.problems
            return True
        return False


def _tensor_files(side: Side, names: frozenset[str]) -> set[str]:
    patterns = [pattern for layout in side.layouts() for pattern in side.files(layout)]
    matched = {name for pattern in patterns for name in wildcard_match(pattern, names)}
    return {name for name in matched if not name.endswith(".json")}


def _config_files(mapping: MappingFile, side: Side) -> set[str]:
    mains = {side.config_file(layout) for layout in side.layouts()}
    others = {
        path.file
        for field in mapping.fields.values()
        for _, paths in field.places[side.name].entries
        for path in paths
    }
    asked = {
        read_path(str(arguments[0])).file
        for expression in mapping.expressions()
        for function, arguments in expression.calls
        if function in CONFIG_QUESTIONS
    }
    return {main.file for main in mains if main} | {name for name in others | asked if name}


def describe_file(path: Path) -> FileContents:
    """What a tensor file holds, whatever its format. Raises `CheckpointError`."""
    with storage.open_file(path) as file:
        head = file.read(_HEAD)
        format = recognise(path.name, head)
        if format is None:
            raise CheckpointError(
                Problem("ME501", f"{path.name} is neither a safetensors nor a torch file")
            )
        file.seek(0)
        return replace(format.describe(file, path.name), stamp=storage.stamp(file))


def read_json(path: Path) -> Any:
    """A JSON file; a key given twice, and NaN, are refused. Raises `CheckpointError`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in pairs:
            if key in read:
                raise ValueError(f"key {key!r} is there twice")
            read[key] = value
        return read

    try:
        text = storage.read_text(path)
        if has_too_many_parts(text):
            raise ValueError(f"it has more than {MOST_PARTS:,} parts")
        value = json.loads(
            text,
            object_pairs_hook=once,
            parse_constant=_constant,
            parse_int=_int,
            parse_float=_float,
        )
        _check_depth(value)
        json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written again
    except RecursionError:
        raise CheckpointError(Problem("ME516", _bad(path, _TOO_DEEP))) from None
    except ValueError as error:
        raise CheckpointError(Problem("ME516", _bad(path, _why(error)))) from None
    return value


def _bad(path: Path, why: str) -> str:
    return f"{path.name} is not good JSON: {why}"


def _why(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg.lower()}"
    if isinstance(error, UnicodeError):
        return "a character of its text is half of one"
    return str(error)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    if level:
        raise ValueError(_TOO_DEEP)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is beyond the range of a number")
    return value


def _int(digits: str) -> int:
    if len(digits) > MAX_NUMBER_LENGTH:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _constant(word: str) -> float:
    if word == "NaN":
        raise ValueError("NaN is not a value")
    return float(word.replace("Infinity", "inf"))


def _read_config(path: Path) -> Any:
    if path.suffix in SUFFIXES:
        return describe_file(path).objects
    if path.suffix not in (".yaml", ".yml"):
        return read_json(path)
    from mapengine.language.document import read_document

    return read_document(storage.read_text(path), path.name).data


def _concerns(index: str, files: Mapping[str, FileContents]) -> bool:
    """Whether an index speaks of one of these files, by name."""
    stem, _, suffix = index.removesuffix(INDEX_SUFFIX).rpartition(".")
    return any(name.startswith(f"{stem}-") and name.endswith(suffix) for name in files)


def check_index(
    index: Any, name: str, names: Iterable[str], files: Mapping[str, FileContents]
) -> Iterator[Problem]:
    """What an index says that its folder does not bear out."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        yield Problem("ME514", f"{name} has no weight_map of keys to file names")
        return
    listed = set(weight_map.values())
    outside = sorted(file for file in listed if file in (".", "..") or set(file) & set("/\\\0"))
    if outside:
        yield Problem("ME514", f"{name} points outside its folder: {outside[0][:_WIDTH]!r}")
        return
    if elsewhere := [k for k, file in weight_map.items() if PurePath(file).suffix not in SUFFIXES]:
        told = on_one_line(weight_map[elsewhere[0]], _WIDTH)
        message = f"{name} puts {_tensors(len(elsewhere))} in {told}, which is no tensor file"
        yield Problem("ME514", message)
        return
    there = set(names)
    absent = Counter(file for file in weight_map.values() if file not in there)
    for file in sorted(absent)[:_SHOWN]:
        yield Problem("ME511", f"{file} is missing: {name} puts {_tensors(absent[file])} in it")
    if len(absent) > _SHOWN:
        message = f"{len(absent) - _SHOWN:,} more files that {name} names are missing"
        yield Problem("ME511", message)
    stem, _, suffix = name.removesuffix(INDEX_SUFFIX).rpartition(".")
    parts = {f for f in files if f.startswith(f"{stem}-") and f.endswith(suffix)} | listed
    for what, keys in _lies(weight_map, parts & files.keys(), files).items():
        shown = ", ".join(pattern for pattern, _ in fold(keys)[:4])
        yield Problem("ME515", f"{name} {what}: {shown} ({_tensors(len(keys))})")


def _lies(
    weight_map: Mapping[str, str], parts: Iterable[str], files: Mapping[str, FileContents]
) -> dict[str, list[str]]:
    """The keys that an index puts where they are not, or not where they are, by what is wrong."""
    astray: dict[str, list[str]] = {}
    for file in sorted(parts):
        for key in files[file].tensors:
            if weight_map.get(key) != file:
                astray.setdefault(key, []).append(file)
    wrong: dict[str, list[str]] = {}
    for key, told in weight_map.items():
        if told in files and key not in files[told].tensors:
            found = astray.pop(key, [])
            so = f", but it is in {found[0]}" if found else ""
            wrong.setdefault(f"promises what is not in {told}{so}", []).append(key)
    for key, found in astray.items():
        if key not in weight_map or weight_map[key] in files:
            for file in found:
                wrong.setdefault(f"does not list what is in {file}", []).append(key)
    return wrong


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
