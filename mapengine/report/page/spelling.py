"""Keys as the page's script spells them out: what is embedded grows with rules, not with tensors.

A rule's steps go through the product of its loops, the last one fastest; of each step come its
patterns, each at the product of the fans, each at the product of the ranks. So it suffices to say
what stands in the braces of a pattern, by the place of an index in its range.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby, product
from typing import Any

from mapengine.binding.binding import Binding
from mapengine.binding.inventory import Address
from mapengine.binding.names import ModelNames
from mapengine.binding.scope import Scope
from mapengine.errors import printable
from mapengine.language.patterns import Hole, KeyPattern
from mapengine.planning.expand import Family, Step

Range = int | list[str]
"""An index that counts from 0, by its size; or what it goes through."""


def runs(values: Iterable[Hashable]) -> list[Any]:
    """`[3, a, 1, b]`: three times a, then b."""
    return [part for value, group in groupby(values) for part in (sum(1 for _ in group), value)]


class Numbered(dict[Any, int]):
    """Values by the order in which they were first asked for."""

    def __missing__(self, value: Any) -> int:
        number = self[value] = len(self)
        return number


def range_of(values: Sequence[int | str]) -> Range:
    if list(values) == list(range(len(values))):
        return len(values)
    return [str(value) for value in values]


def loops_of(steps: Sequence[Step], binding: Binding) -> list[tuple[str, Sequence[int | str]]]:
    """The loops of a rule with their ranges."""
    return [(name, tuple(binding.names.range_of(name) or ())) for name in steps[0].loops]


def places(
    steps: Sequence[Step], loops: Sequence[tuple[str, Sequence[int | str]]]
) -> list[int] | None:
    """Which members of the loops' product the steps are, as starts and counts; None for all."""
    if len(steps) == math.prod(len(values) for _, values in loops):
        return None
    at = {values: i for i, values in enumerate(product(*(values for _, values in loops)))}
    found: list[int] = []
    for step in steps:
        place = at[step.values]
        if found and found[-2] + found[-1] == place:
            found[-1] += 1
        else:
            found += [place, 1]
    return found


def side(
    patterns: Sequence[KeyPattern],
    family: Family[Address],
    loops: Sequence[tuple[str, Sequence[int | str]]],
    ranks: Sequence[str],
    names: ModelNames,
) -> dict[str, Any]:
    """The keys of one side of a rule."""
    labelled = list(zip(family.labels, family.ranges, strict=True))
    fans = [(str(n), values) for n, values in labelled if n is not None and n not in ranks]
    of_files = [(str(n), values) for n, values in labelled if n in ranks]
    indices = [*loops, *fans]
    return {
        "keys": [_spelled(pattern, indices, names) for pattern in patterns],
        "fans": [[printable(name), range_of(values)] for name, values in fans],
        "ranks": [[printable(name), range_of(values)] for name, values in of_files],
    }


def _spelled(
    pattern: KeyPattern, indices: Sequence[tuple[str, Sequence[int | str]]], names: ModelNames
) -> list[Any]:
    """Texts, and for braces the indices that count.

    With them, unless it is the index itself: what is added to it, or what it comes to everywhere.
    """
    parts: list[Any] = []
    for part in pattern.parts:
        spelled = _hole(part, indices, names) if isinstance(part, Hole) else printable(part)
        if isinstance(spelled, str) and parts and isinstance(parts[-1], str):
            parts[-1] += spelled
        else:
            parts.append(spelled)
    return parts


def _hole(hole: Hole, indices: Sequence[tuple[str, Sequence[int | str]]], names: ModelNames) -> Any:
    needed = names.indices_of(hole.expression.names)
    at = [i for i, (name, _) in enumerate(indices) if name in needed]
    if not at:
        return printable(hole.fill(Scope(names, {})))
    chosen = [indices[i] for i in at]
    texts = [
        hole.fill(Scope(names, dict(zip((name for name, _ in chosen), values, strict=True))))
        for values in product(*(values for _, values in chosen))
    ]
    if len(at) == 1:
        values = chosen[0][1]
        if texts == [str(value) for value in values]:
            return [at]
        if range_of(values) == len(values) and texts and texts[0].isdecimal():
            first = int(texts[0])
            if texts == [str(first + i) for i in range(len(texts))]:
                return [at, first]
    return [at, [printable(text) for text in texts]]
