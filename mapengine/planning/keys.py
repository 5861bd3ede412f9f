"""The keys that a rule's patterns name, index by index.

A rule of a large model makes its keys a hundred thousand times over, and what stands in any one
brace takes few values: it is worked out once for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

from mapengine.binding.names import ModelNames
from mapengine.binding.scope import Scope
from mapengine.language.patterns import Hole, KeyPattern

Value = int | str
_Pick = Callable[[tuple[Value, ...]], Any]


class KeyMaker:
    """Fills the `patterns` of one side of a rule, at values of the rule's `loops`.

    Each is filled at every combination of the `fans` too, the last one fastest: `labels` and
    `ranges` are those of the family of keys that comes of it.
    """

    def __init__(
        self,
        patterns: Sequence[KeyPattern],
        names: ModelNames,
        loops: tuple[str, ...],
        fans: tuple[str, ...],
        ranges: Mapping[str, tuple[Value, ...]],
    ) -> None:
        self.labels: tuple[str | None, ...] = fans
        self.ranges: tuple[tuple[Value, ...], ...] = tuple(ranges[name] for name in fans)
        self._fanned = list(product(*self.ranges))
        self._patterns = [_Filled(pattern, names, (*loops, *fans)) for pattern in patterns]
        if len(patterns) > 1:
            self.labels = (None, *self.labels)
            self.ranges = (tuple(range(len(patterns))), *self.ranges)

    def keys(self, values: tuple[Value, ...]) -> list[str]:
        """The keys where the loops have `values`. Raises `ExpressionError`."""
        return [
            pattern.at(values + fanned) for pattern in self._patterns for fanned in self._fanned
        ]


class _Filled:
    """One pattern: what its holes are filled with, each with the text before it, and the end."""

    def __init__(self, pattern: KeyPattern, names: ModelNames, indices: Sequence[str]) -> None:
        self._holes: list[tuple[_Pick, _Texts]] = []
        self._end = ""
        for part in pattern.parts:
            if isinstance(part, Hole):
                texts = _Texts(self._end, part, names, indices)
                self._holes.append((texts.pick, texts))
                self._end = ""
            else:
                self._end += part

    def at(self, values: tuple[Value, ...]) -> str:
        return "".join([texts[pick(values)] for pick, texts in self._holes]) + self._end


class _Texts(dict[Any, str]):
    """What a hole is filled with, by the values of those of the `indices` that it depends on."""

    def __init__(self, before: str, hole: Hole, names: ModelNames, indices: Sequence[str]) -> None:
        self._before, self._hole, self._names = before, hole, names
        self._needed = sorted(names.indices_of(hole.expression.names) & {*indices})
        positions = [indices.index(index) for index in self._needed]
        self.pick: _Pick = itemgetter(*positions) if positions else lambda values: ()

    def __missing__(self, picked: Any) -> str:
        values = (picked,) if len(self._needed) == 1 else picked
        scope = Scope(self._names, dict(zip(self._needed, values, strict=True)))
        text = self[picked] = self._before + self._hole.fill(scope)
        return text
