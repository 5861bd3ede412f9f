"""What an index says of its folder, held against what is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mapengine.errors import Problem, on_one_line
from mapengine.fold import fold
from mapengine.specs import INDEX_SUFFIX, SUFFIXES, FileContents, is_plain_name

_SHOWN = 20
_WIDTH = 200
_ELSEWHERE = re.compile("~|[A-Za-z]:")  # for a shell, for Windows


def concerns(index: str, files: Mapping[str, FileContents]) -> bool:
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
    outside = sorted(file for file in listed if not is_plain_name(file) or _ELSEWHERE.match(file))
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
