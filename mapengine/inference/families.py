"""Keys that differ in numbers alone, and groups of tensors that differ in those of their keys."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from mapengine.inference.files import NO_RANK, Address
from mapengine.inference.matching import Group
from mapengine.inference.sample import Sample

_NUMBER = re.compile(r"(?<![^./])(0|[1-9][0-9]{0,17})(?![^./])")


class Pattern(NamedTuple):
    """A key with its numbers taken out; `ranked` where the last number is the rank."""

    words: tuple[str, ...]
    ranked: bool

    def above(self, slot: int) -> str:
        """What stands before a number, `{}` for those in it."""
        return "{}".join(self.words[: slot + 1]) if not self.is_rank(slot) else ""

    def is_rank(self, slot: int) -> bool:
        return self.ranked and slot == len(self.words) - 1

    def text(self, holes: Sequence[str]) -> str:
        """The key with something in place of each number, as a mapping writes it."""
        words = [word.replace("{", "{{").replace("}", "}}") for word in self.words]
        return words[0] + "".join(a + b for a, b in zip(holes, words[1:], strict=False))


def pattern_of(address: Address) -> tuple[Pattern, tuple[int, ...]]:
    pieces = _NUMBER.split(address.key)
    numbers = tuple(map(int, pieces[1::2]))
    ranked = address.rank != NO_RANK
    return Pattern(tuple(pieces[::2]), ranked), (*numbers, address.rank) if ranked else numbers


@dataclass(frozen=True, slots=True)
class Family:
    """Tensors of one group under one pattern: of each number one value, or a range of them."""

    pattern: Pattern
    ranges: tuple[range, ...]

    @property
    def fans(self) -> tuple[int, ...]:
        return tuple(slot for slot, one in enumerate(self.ranges) if len(one) > 1)

    @property
    def form(self) -> tuple[Pattern, tuple[range | None, ...]]:
        """What families of different layers have in common."""
        return self.pattern, tuple(one if len(one) > 1 else None for one in self.ranges)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(self.ranges[slot]) for slot in self.fans)

    def members(self) -> list[Address]:
        """The tensors, the last number running fastest."""
        found = []
        for numbers in product(*self.ranges):
            rank = numbers[-1] if self.pattern.ranked else NO_RANK
            found.append(Address(self.pattern.text([str(n) for n in numbers]), rank))
        return found


@dataclass(frozen=True, slots=True)
class Instance:
    """A group by families, such as one layer's."""

    sources: tuple[Family, ...]
    targets: tuple[Family, ...]
    equal: bool = False


def instance(group: Group) -> Instance | None:
    """None where numbers are missing from a range."""
    sources, targets = families(group.sources), families(group.targets)
    return Instance(sources, targets, group.equal) if sources and targets else None


def families(addresses: Iterable[Address]) -> tuple[Family, ...] | None:
    by_pattern: dict[Pattern, list[tuple[int, ...]]] = {}
    for address in addresses:
        pattern, numbers = pattern_of(address)
        by_pattern.setdefault(pattern, []).append(numbers)
    found = []
    for pattern, listed in by_pattern.items():
        columns = [sorted(set(column)) for column in zip(*listed, strict=True)]
        ranges = tuple(range(column[0], column[-1] + 1) for column in columns)
        if math.prod(map(len, ranges)) != len(set(listed)):
            return None
        found.append(Family(pattern, ranges))
    return tuple(found) if len({one.sizes for one in found}) == 1 else None


Form = tuple[object, ...]


def form(one: Instance, source: Sample, target: Sample) -> Form:
    """What instances must have in common to be one rule."""
    sides = []
    for sample, listed in ((source, one.sources), (target, one.targets)):
        specs = tuple(sample.spec(family.members()[0]) for family in listed)
        sides.append((tuple(family.form for family in listed), specs))
    return (one.equal, *sides)
