"""Which files a checkpoint's tensors are in, and what the numbers in their names are for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mapengine.errors import CheckpointError, Problem
from mapengine.specs import FileContents, StoredTensor

NO_RANK = -1
_SHARD = re.compile(r"(.*)-[0-9]{5,}-of-[0-9]{5,}(\.[a-z]+)")
_NUMBER = re.compile(r"[0-9]+")


class Address(NamedTuple):
    """A tensor of a checkpoint: its key, and which part of a tensor cut over files it is."""

    key: str
    rank: int = NO_RANK


@dataclass(frozen=True, slots=True)
class FilesEntry:
    """One entry of a side's `tensors`: a file pattern, and what hangs its keys where they belong.

    A pattern has `{}` for each number; `rank` is the one of them that tells parts of one tensor.
    """

    pattern: str
    widths: tuple[int, ...] = ()
    rank: int | None = None
    prefixed: bool = False


Entries = dict[FilesEntry, tuple[tuple[int, ...], ...]]
"""The entries of a side, each with the numbers in the names of its files."""


def addressed(
    files: Mapping[str, FileContents],
) -> tuple[Entries, dict[Address, StoredTensor]]:
    """Every tensor by address, and the entries of the files."""
    keys = Counter(key for contents in files.values() for key in contents.tensors)
    if max(keys.values()) == 1:
        entries: Entries = {FilesEntry(name): ((),) for name in _whole_names(files)}
        return entries, {Address(k): s for one in files.values() for k, s in one.tensors.items()}
    return _numbered(files)


def _whole_names(files: Mapping[str, FileContents]) -> list[str]:
    """The names of files, those of shards of one taken together."""
    matches = {name: _SHARD.fullmatch(name) for name in files}
    return list(dict.fromkeys(m[1] + m[2] if m else name for name, m in matches.items()))


def _numbered(
    files: Mapping[str, FileContents],
) -> tuple[Entries, dict[Address, StoredTensor]]:
    """The tensors of files that hold the same keys, and that their numbers tell apart.

    The number that varies among files with the same keys and shapes from 0 on, and last, is the
    rank; where others vary, the keys of a file hang below them.
    """
    groups: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}
    for name in files:
        words = tuple(_NUMBER.split(name))
        groups.setdefault(words, {})[name] = tuple(_NUMBER.findall(name))
    entries: Entries = {}
    tensors: dict[Address, StoredTensor] = {}
    for words, members in groups.items():
        varying = [
            i for i, col in enumerate(zip(*members.values(), strict=True)) if len({*col}) > 1
        ]
        rank = next((i for i in reversed(varying) if _is_rank(i, members, files)), None)
        above = [i for i in varying if i != rank]
        for name, texts in members.items():
            prefix = "".join(f"part.{int(texts[i])}." for i in above)
            own = words[0] + "".join(
                ("{}" if i in varying else t) + w
                for i, (t, w) in enumerate(zip(texts, words[1:], strict=True))
            )
            widths = tuple(len(texts[i]) for i in varying)
            entry = FilesEntry(
                own, widths, varying.index(rank) if rank in varying else None, bool(above)
            )
            entries[entry] = (*entries.get(entry, ()), tuple(int(texts[i]) for i in varying))
            place = int(texts[rank]) if rank is not None else NO_RANK
            for key, stored in files[name].tensors.items():
                address = Address(prefix + key, place)
                if address in tensors:
                    message = f"{key} is in {tensors[address].location.file} and in {name}"
                    raise CheckpointError(Problem("ME513", message))
                tensors[address] = stored
    return entries, tensors


def _is_rank(
    column: int, members: Mapping[str, tuple[str, ...]], files: Mapping[str, FileContents]
) -> bool:
    """Whether files that differ in one number alone hold the same keys, and it counts from 0."""
    alike: dict[tuple[str, ...], dict[int, frozenset[str]]] = {}
    for name, texts in members.items():
        others = (*texts[:column], *texts[column + 1 :])
        alike.setdefault(others, {})[int(texts[column])] = frozenset(files[name].tensors)
    return all(
        sorted(one) == list(range(len(one))) and len(one) > 1 and len({*one.values()}) == 1
        for one in alike.values()
    )
