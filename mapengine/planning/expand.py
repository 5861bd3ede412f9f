"""Rules over index ranges to steps. Pure: sees no checkpoint but through the binding's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar

from mapengine.binding.binding import Binding
from mapengine.binding.config_values import told
from mapengine.binding.inventory import Address
from mapengine.binding.names import UnboundName
from mapengine.errors import Problem
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import Rule
from mapengine.planning.keys import KeyMaker

T = TypeVar("T")
Label = str | None
"""The index a fan goes over; None for the list of keys written in the rule itself."""

SPARE_KEYS = 50_000
"""How many more keys rules may name than a checkpoint has; beyond it a size is a lie."""
MOST_KEYS = 4_000_000
"""How many keys the rules may name where there is no checkpoint to go by."""


@dataclass(frozen=True, slots=True)
class Family(Generic[T]):
    """Members labelled by indices: `members` go through `ranges` in order, the last fastest."""

    labels: tuple[Label, ...]
    ranges: tuple[tuple[int | str, ...], ...]
    members: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule at one index: the tensors it takes of the side that is read, and those it makes.

    On the way back these are the rule's targets and its sources. Its `loops` have `values` there.
    """

    rule: Rule
    loops: tuple[str, ...]
    values: tuple[int | str, ...]
    sources: Family[Address]
    targets: Family[Address]

    @property
    def indices(self) -> dict[str, int | str]:
        """The index values by name."""
        return dict(zip(self.loops, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class Expansion:
    steps: tuple[Step, ...]
    problems: tuple[Problem, ...]


def expand(binding: Binding, keys: int | None = None) -> Expansion:
    """Every rule that holds in the binding's layout, at every one of its loop indices.

    `keys` bounds how many the rules may name; by default it follows from those that are there.
    """
    steps: list[Step] = []
    problems: list[Problem] = []
    left = SPARE_KEYS + 4 * len(binding.tensors) if keys is None else keys
    for rule in binding.mapping.rules:
        if not rule.holds_in(binding.layout):
            continue
        try:
            ranges = _ranges(rule, binding)
            left -= _count(rule, ranges)
            if left < 0:
                problems.append(_too_many(rule, binding, ranges))
                break
            steps += _steps(rule, binding, ranges)
        except ExpressionError as error:
            where = error.where or rule.where
            problems.append(Problem("ME302", str(error), where, rule.path, error.help))
        except UnboundName:
            continue  # the name without a value is on the binding's list
    return Expansion(tuple(steps), tuple(problems))


Ranges = AnyMapping[str, tuple[int | str, ...]]


def _ranges(rule: Rule, binding: Binding) -> Ranges:
    """The range of every index of a rule, and of the ranks."""
    names = frozenset().union(*(p.names for p in (*rule.sources, *rule.targets)))
    sizes = {n: binding.names.range_of(n) or () for n in binding.mapping.dims if n in names}
    return {name: tuple(values) for name, values in sizes.items()}


def _count(rule: Rule, ranges: Ranges) -> int:
    """How many keys a rule can name, before any condition."""
    return len((*rule.sources, *rule.targets)) * math.prod(len(v) for v in ranges.values())


def _too_many(rule: Rule, binding: Binding, ranges: Ranges) -> Problem:
    sizes = ", ".join(f"{name} goes to {len(values):,}" for name, values in ranges.items())
    origins = {n: binding.origin(n) for size in binding.mapping.dims.values() for n in _of(size)}
    message = f"far more keys than the {len(binding.tensors):,} of the checkpoint: {sizes}"
    help = "; ".join(f"{n} is {told(binding.names.value(n))} ({o})" for n, o in origins.items())
    return Problem("ME302", message, rule.where, rule.path, help)


def _of(size: Any) -> list[str]:
    return [] if isinstance(size, tuple) else sorted(size.names)


def fan_labels(
    rule: Rule, binding_dims: AnyMapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The indices of a rule that loop, that fan at the source, and that fan at the target.

    Those of a constant all loop: there is nothing that a fan of it could be made of.
    """
    target = frozenset().union(*(p.names for p in rule.targets)) & binding_dims.keys()
    source = frozenset().union(*(p.names for p in rule.sources)) & binding_dims.keys()
    source = source if rule.sources else target
    order = list(binding_dims)
    return (
        tuple(sorted(source & target, key=order.index)),
        tuple(sorted(source - target, key=order.index)),
        tuple(sorted(target - source, key=order.index)),
    )


def _steps(rule: Rule, binding: Binding, ranges: Ranges) -> Iterator[Step]:
    loops, *fans = fan_labels(rule, binding.mapping.dims)
    sides = (binding.read.name, binding.write.name)
    taken, made = fans if sides[0] == "source" else reversed(fans)
    sources = _Addresses(
        KeyMaker(rule.keys(sides[0]), binding.names, loops, taken, ranges), binding.rank_ranges
    )
    targets = _Addresses(
        KeyMaker(rule.keys(sides[1]), binding.names, loops, made, ranges),
        binding.written_rank_ranges,
    )
    for values in product(*(ranges[name] for name in loops)):
        if rule.when:
            indices = dict(zip(loops, values, strict=True))
            if not all(binding.names.holds(when, indices) for when in rule.when):
                continue
        yield Step(rule, loops, values, sources.at(values), targets.at(values))


class _Addresses:
    """The tensors of one side of a rule: its keys, once for each value of the file indices."""

    def __init__(self, keys: KeyMaker, ranks: AnyMapping[str, tuple[int | str, ...]]) -> None:
        self._keys = keys
        self._labels: tuple[Label, ...] = (*keys.labels, *ranks)
        self._ranges = (*keys.ranges, *ranks.values())
        self._ranks = list(product(*ranks.values()))

    def at(self, values: tuple[int | str, ...]) -> Family[Address]:
        """Those where the rule's loops have `values`. Raises `ExpressionError`."""
        members = tuple([(key, rank) for key in self._keys.keys(values) for rank in self._ranks])
        return Family(self._labels, self._ranges, members)
