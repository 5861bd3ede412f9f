"""Checkpoint folders: their tensor files, index, config, companions. Sees no rule."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mapengine.binding.inventory import Inventory, wildcard_match
from mapengine.checkpoints import storage
from mapengine.checkpoints.indexes import check_index, concerns
from mapengine.checkpoints.links import open_file
from mapengine.errors import CheckpointError, MapengineError, Problem
from mapengine.executors import EXECUTORS
from mapengine.formats import recognise
from mapengine.formats.json_bounds import MOST_PARTS, has_too_many_parts
from mapengine.language.expression_syntax import CONFIG_QUESTIONS
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.language.mapping import Side
from mapengine.language.reader import read_path
from mapengine.language.scalars import MAX_NUMBER_LENGTH
from mapengine.locations import URL, Location
from mapengine.specs import INDEX_SUFFIX, SUFFIXES, FileContents

_HEAD = 4096
_AT_ONCE = 8
MAX_DEPTH = 64
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} deep"


def take_inventory(
    folder: Location,
    mapping: MappingFile,
    side: Side,
    *,
    indexes: bool = True,
    follow_links: bool = False,
) -> Inventory:
    """Names, headers and configs of a folder, as far as any layout of the side wants them.

    Its `indexes` are held against it, unless its tensors are not what is wanted. Raises
    `CheckpointError` with every file that cannot be read, and every index that lies.
    """
    names = storage.list_files(folder)
    problems: list[Problem] = []
    files: dict[str, FileContents] = {}
    configs: dict[str, Any] = {}
    with_tensors = _tensor_files(side, names)
    for name, found in describe_files(folder, with_tensors, follow_links, side.ignore_objects):
        with _collecting(problems, folder / name):
            files[name] = found()
    for name in sorted(_config_files(mapping, side) & names - with_tensors):
        with _collecting(problems, folder / name):
            configs[name] = _read_config(folder / name, follow_links, side.ignore_objects)
    for name in sorted(names.intersection(mapping.files)):
        with _collecting(problems, folder / name):
            open_file(folder / name, follow_links).close()
    for name in sorted(name for name in names if name.endswith(INDEX_SUFFIX)):
        if indexes and concerns(name, files):
            with _collecting(problems, folder / name):
                index = read_json(folder / name, follow_links)
                problems += check_index(index, name, names, files)
    if problems:
        raise CheckpointError(*problems)
    return Inventory(str(folder), names, files, configs)


class _collecting:  # noqa: N801  (reads as a verb where it is used)
    """Keeps the problems of an error and goes on."""

    def __init__(self, problems: list[Problem], path: Location) -> None:
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


def describe_files(
    folder: Location,
    names: Iterable[str],
    follow_links: bool = False,
    ignored: Sequence[str] = (),
) -> Iterator[tuple[str, Callable[[], FileContents]]]:
    """What each file holds, in the order of their names; or raises as `describe_file` does.

    Those of another place are looked at several at a time, for that is waiting, mostly.
    """

    def look(name: str) -> tuple[str, Callable[[], FileContents]]:
        try:
            contents = describe_file(folder / name, follow_links, ignored)
        except (OSError, MapengineError) as error:
            return name, partial(_raise, error)
        return name, lambda: contents

    workers = _AT_ONCE if isinstance(folder, URL) else 1
    return EXECUTORS["local"](look, sorted(names), workers)


def _raise(error: Exception) -> FileContents:
    raise error


def describe_file(
    path: Location, follow_links: bool = False, ignored: Sequence[str] = ()
) -> FileContents:
    """What a tensor file holds, whatever its format; objects of `ignored` classes are passed over.

    Raises `CheckpointError`.
    """
    with open_file(path, follow_links) as file:
        head = file.read(_HEAD)
        format = recognise(path.name, head)
        if format is None:
            raise CheckpointError(
                Problem("ME501", f"{path.name} is neither a safetensors nor a torch file")
            )
        file.seek(0)
        return replace(format.describe(file, path.name, ignored), stamp=storage.stamp(file))


def read_json(path: Location, follow_links: bool = False) -> Any:
    """A JSON file; a key given twice, and NaN, are refused. Raises `CheckpointError`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in pairs:
            if key in read:
                raise ValueError(f"key {key!r} is there twice")
            read[key] = value
        return read

    try:
        text = read_text(path, follow_links)
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


def read_text(path: Location, follow_links: bool = False) -> str:
    """The whole of a small text file. Raises `CheckpointError`."""
    with open_file(path, follow_links) as file:
        return storage.read_text(file, path)


def _bad(path: Location, why: str) -> str:
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


def _read_config(path: Location, follow_links: bool, ignored: Sequence[str]) -> Any:
    if path.suffix in SUFFIXES:
        return describe_file(path, follow_links, ignored).objects
    if path.suffix not in (".yaml", ".yml"):
        return read_json(path, follow_links)
    from mapengine.language.document import read_document

    return read_document(read_text(path, follow_links), path.name).data
