"""The indices of a mapping: which numbers in keys count, together with which, and their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mapengine.inference.families import pattern_of
from mapengine.inference.files import Address
from mapengine.inference.steps import Op

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Place(NamedTuple):
    """A number in the keys of a side, by what stands before it."""

    side: str
    above: str


@dataclass(frozen=True, slots=True)
class Index:
    name: str
    offset: int

    @property
    def hole(self) -> str:
        sign = f" {'+' if self.offset > 0 else '-'} {abs(self.offset)}" if self.offset else ""
        return f"{{{self.name}{sign}}}"


class Indices:
    """Places and their indices. An index counts from 0 on, as far as the keys of its side do."""

    def __init__(self, source: Iterable[Address], target: Iterable[Address]) -> None:
        self.values: dict[Place, set[int]] = {}
        for side, addresses in (("source", source), ("target", target)):
            for address in addresses:
                pattern, numbers = pattern_of(address)
                for slot, number in enumerate(numbers):
                    if not pattern.is_rank(slot):
                        place = Place(side, pattern.above(slot))
                        self.values.setdefault(place, set()).add(number)
        self.sizes: dict[str, int] = {}
        self.places: dict[Place, Index] = {}
        self._fans: dict[str, str] = {}

    def of(self, place: Place) -> Index | None:
        return self.places.get(place)

    def count(self, place: Place) -> None:
        """Makes a place of the target an index of its own, if its numbers leave none out."""
        if place in self.places:
            return
        values = self.values[place]
        if len(values) == max(values) - min(values) + 1:
            self.places[place] = Index(self._new(place, len(values)), min(values))

    def follow(self, place: Place, other: Place, gap: int) -> None:
        """The numbers of a place of the source are those of another place and `gap` more."""
        if place not in self.places and other in self.places:
            index = self.places[other]
            self.places[place] = replace(index, offset=index.offset + gap)

    def beyond(self, index: Index, number: int) -> str:
        """A number beside those of an index: one past their end moves with it.

        How many there are has a name only when the mapping is written; until then it is `@index`.
        """
        after = number - index.offset - self.sizes[index.name]
        if after < 0:
            return str(number)
        more = number - self.sizes[index.name]
        return (
            f"{{@{index.name}}}"
            if not more
            else f"{{@{index.name} {'+' if more > 0 else '-'} {abs(more)}}}"
        )

    def fan(self, place: Place, values: range) -> str:
        """The hole for an index that stands on one side only."""
        name = self._fan(place, len(values))
        return Index(name, values[0]).hole

    def named(self, op: Op) -> Op:
        """An op by the name of its index, where it was by place."""
        if op.fan is not None and op.fan.startswith("="):
            name = op.fan[1:]
            self.sizes.setdefault(name, len(op.sizes))
            return replace(op, fan=name)
        return replace(op, fan=self._fans[op.fan]) if op.fan in self._fans else op

    def _fan(self, place: Place, size: int) -> str:
        if place.above not in self._fans:
            word = _word(place.above)
            known = self.sizes.get(word) == size and word not in self._fans.values()
            self._fans[place.above] = word if known else self._new(place, size)
        return self._fans[place.above]

    def _new(self, place: Place, size: int) -> str:
        word = _word(place.above)
        words = _WORD.findall(place.above.replace("{}", ""))
        longer = f"{_singular(words[-2])}_{word}" if len(words) > 1 else word
        names = (word, longer, *(f"{word}_{n}" for n in range(2, 1000)))
        name = next(name for name in names if name not in self.sizes)
        self.sizes[name] = size
        return name


def _word(above: str) -> str:
    words = _WORD.findall(above.replace("{}", ""))
    word = _singular(words[-1]) if words else "index"
    return (
        {"h": "block", "part": "layer"}.get(word, word) if len(word) > 1 or word == "h" else "index"
    )


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
