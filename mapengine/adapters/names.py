"""Lists of modules as PEFT reads them: by the ends of their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

WHOLE = "^"
"""What stands before a name that is meant from its beginning, as PEFT's patterns have it."""

_NAME = re.compile(r"(\^?)((?:[A-Za-z0-9_.-]|\\\.)+)\$?")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def modules_of(keys: Collection[str]) -> frozenset[str]:
    """Every module that tensors of these keys lie in, and those around it."""
    found: set[str] = set()
    for key in keys:
        module = key.rpartition(".")[0]
        while module and module not in found:
            found.add(module)
            module = module.rpartition(".")[0]
    return frozenset(found)


def shortest(chosen: Collection[str], others: Collection[str]) -> dict[str, str]:
    """For each name the shortest end of it, in whole words, that none of the `others` has.

    It is the name from its beginning where another one ends in all of it.
    """
    ends = {end for other in others for end in _ends(other)}
    return {
        name: next((end for end in _ends(name) if end not in ends), WHOLE + name) for name in chosen
    }


def targets(chosen: Collection[str], others: Collection[str]) -> list[str] | str:
    """`target_modules` for these and none of the `others`.

    PEFT takes a list for ends of names; where one is the end of another's, it must be a pattern.
    """
    ends = sorted(set(shortest(chosen, others).values()))
    if not any(end.startswith(WHOLE) for end in ends):
        return ends
    return "|".join(
        re.escape(end[1:]) if end.startswith(WHOLE) else rf"(?:.*\.)?{re.escape(end)}"
        for end in ends
    )


def _ends(name: str) -> Iterator[str]:
    """`proj`, `attn.proj`, `0.attn.proj` and so on."""
    at = len(name)
    while at > 0:
        at = name.rfind(".", 0, at)
        yield name[at + 1 :]


def pattern_of(values: Mapping[str, T], default: T) -> dict[str, T]:
    """The names that have not the `default`, by their ends: a `rank_pattern`, or its like."""
    found: dict[str, T] = {}
    for value in dict.fromkeys(values.values()):
        if value != default:
            alike = [name for name, one in values.items() if one == value]
            apart = [name for name, one in values.items() if one != value]
            found |= dict.fromkeys(shortest(alike, apart).values(), value)
    return {_escaped(end): value for end, value in found.items()}


def _escaped(end: str) -> str:
    start = WHOLE if end.startswith(WHOLE) else ""
    name = end.removeprefix(WHOLE)
    return start + (name if _PLAIN.fullmatch(name) else re.escape(name))


@dataclass(frozen=True)
class Patterns(Generic[T]):
    """A `rank_pattern` or its like, as far as it is of names: values by the ends of modules.

    PEFT takes its keys for regular expressions. Foreign ones are not run: `foreign` lists those
    that are more than a name.
    """

    ends: Mapping[str, tuple[int, T]]
    foreign: tuple[str, ...]

    @staticmethod
    def of(raw: Mapping[str, T]) -> Patterns[T]:
        ends: dict[str, tuple[int, T]] = {}
        foreign: list[str] = []
        for number, (key, value) in enumerate(raw.items()):
            parsed = _NAME.fullmatch(key)
            if parsed is None:
                foreign.append(key)
            else:
                ends.setdefault(parsed[1] + parsed[2].replace("\\.", "."), (number, value))
        return Patterns(ends, tuple(foreign))

    def value(self, module: str) -> T | None:
        """That of the first key which is the end of a module's name, or the whole after a ^."""
        wanted = (*_ends(module), WHOLE + module)
        found = [self.ends[end] for end in wanted if end in self.ends]
        return min(found, key=lambda one: one[0])[1] if found else None
