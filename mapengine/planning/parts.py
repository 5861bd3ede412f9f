"""Which shards of a plan are made by which part, where several processes share the work. Pure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mapengine.errors import OutputError, Problem
from mapengine.planning.plan import Shard


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of the work, counted from 1."""

    number: int
    of: int

    @staticmethod
    def parse(text: str) -> Part:
        """From `2/8`. Raises `OutputError`."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        part = Part(int(found[1]), int(found[2])) if found else Part(0, 0)
        if not 1 <= part.number <= part.of:
            message = f"{text!r} is no part: 2/8 is the second of eight, and they begin with 1/8"
            raise OutputError(Problem("ME622", message))
        return part

    @property
    def name(self) -> str:
        """A name for a folder."""
        return f"{self.number}-of-{self.of}"

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shards_of(shards: Sequence[Shard], part: Part) -> list[Shard]:
    """The shards that a part makes, in their order; every shard is of one part.

    The largest goes first, to the part that has the least to write by then.
    """
    numbers = part_numbers(shards, part.of)
    return [one for one in shards if numbers[one.name] == part.number]


def part_numbers(shards: Sequence[Shard], count: int) -> dict[str, int]:
    """By which of so many parts each shard is made, by its name."""
    loads = [(0, number) for number in range(1, min(count, len(shards)) + 1)]
    numbers = {}
    for shard in sorted(shards, key=lambda shard: (-shard.nbytes, shard.name)):
        nbytes, number = heapq.heappop(loads)
        numbers[shard.name] = number
        heapq.heappush(loads, (nbytes + shard.nbytes, number))
    return numbers
