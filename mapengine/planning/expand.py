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
from mapengine.binding.names import Scope, UnboundName
from mapengine.errors import Problem
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import Rule
from mapengine.language.patterns import KeyPattern

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
    """One rule at one index: the source tensors it takes and the target keys it makes."""

    rule: Rule
    indices: AnyMapping[str, int | str]
    sources: Family[Address]
    targets: Family[str]


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
) -> tuple[list[str], list[str], list[str]]:
    """The indices of a rule that loop, that fan at the source, and that fan at the target."""
    source = frozenset().union(*(p.names for p in rule.sources)) & binding_dims.keys()
    target = frozenset().union(*(p.names for p in rule.targets)) & binding_dims.keys()
    order = list(binding_dims)
    return (
        sorted(source & target, key=order.index),
        sorted(source - target, key=order.index),
        sorted(target - source, key=order.index),
    )


def _steps(rule: Rule, binding: Binding, ranges: Ranges) -> Iterator[Step]:
    names = binding.names
    loops, source_fans, target_fans = fan_labels(rule, binding.mapping.dims)
    for values in product(*(ranges[name] for name in loops)):
        indices = dict(zip(loops, values, strict=True))
        if not all(names.holds(when, indices) for when in rule.when):
            continue
        yield Step(
            rule,
            indices,
            _source_family(rule, binding, source_fans, ranges, indices),
            _target_family(rule, binding, target_fans, ranges, indices),
        )


def _keys(
    patterns: tuple[KeyPattern, ...],
    binding: Binding,
    fans: list[str],
    ranges: Ranges,
    indices: AnyMapping[str, int | str],
) -> tuple[list[Label], list[tuple[int | str, ...]], list[str]]:
    keys = [
        pattern.fill(Scope(binding.names, {**indices, **dict(zip(fans, values, strict=True))}))
        for pattern in patterns
        for values in product(*(ranges[name] for name in fans))
    ]
    labels: list[Label] = list(fans)
    sizes = [ranges[name] for name in fans]
    if len(patterns) > 1:
        labels.insert(0, None)
        sizes.insert(0, tuple(range(len(patterns))))
    return labels, sizes, keys


def _source_family(
    rule: Rule,
    binding: Binding,
    fans: list[str],
    ranges: Ranges,
    indices: AnyMapping[str, int | str],
) -> Family[Address]:
    labels, sizes, keys = _keys(rule.sources, binding, fans, ranges, indices)
    ranks = tuple(binding.rank_ranges[name] for name in binding.ranks)
    members = tuple((key, rank) for key in keys for rank in product(*ranks))
    return Family((*labels, *binding.ranks), (*sizes, *ranks), members)


def _target_family(
    rule: Rule,
    binding: Binding,
    fans: list[str],
    ranges: Ranges,
    indices: AnyMapping[str, int | str],
) -> Family[str]:
    labels, sizes, keys = _keys(rule.targets, binding, fans, ranges, indices)
    return Family(tuple(labels), tuple(sizes), tuple(keys))
