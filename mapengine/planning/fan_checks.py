"""Whether every fan of a rule is made and used up, told from its labels alone.

The rules of families are those of `families.py`: it is run on families of nothing, each index
with one value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from mapengine.binding.binding import ranks_of
from mapengine.errors import OpError, Problem, suggest
from mapengine.language.mapping import SIDES, Mapping, OpCall, Rule
from mapengine.ops import OPS, Fan, Op
from mapengine.ops.rearrange import parse_axes
from mapengine.planning.expand import Family, Label, fan_labels
from mapengine.planning.families import apply_op, settle


def loops_of(rule: Rule, mapping: Mapping) -> tuple[str, ...]:
    """The indices a rule is repeated for: those on both of its sides."""
    return fan_labels(rule, mapping.dims)[0]


def check_fans(mapping: Mapping) -> Iterator[Problem]:
    """What an op names that is not there, and what is left over or lacking at a target."""
    known = {*mapping.dims, *mapping.fields}  # what is unknown is told as such
    for layout in mapping.layouts():
        ranks, written = (ranks_of(mapping, mapping.sides[name], layout) for name in SIDES)
        for rule in mapping.rules:
            if rule.sources and rule.holds_in(layout) and _names_of(rule) <= known:
                yield from _check_rule(rule, mapping, ranks, written)


def _names_of(rule: Rule) -> set[str]:
    return set().union(*(pattern.names for pattern in (*rule.sources, *rule.targets)))


def _check_rule(
    rule: Rule, mapping: Mapping, ranks: tuple[str, ...], written: tuple[str, ...]
) -> Iterator[Problem]:
    loops, source, target = fan_labels(rule, mapping.dims)
    family = _family([*source, *ranks], len(rule.sources))
    wanted = _family([*target, *written], len(rule.targets))
    known = [n for n in dict.fromkeys((*mapping.dims, *ranks, *written)) if n not in loops]
    for call in rule.ops:
        try:
            family = _after(family, call, known, rule)
            _check_axes(call, mapping)
        except OpError as error:
            yield error.at(call.where, call.path)
            return
    try:
        settle(family, wanted)
    except OpError as error:
        yield error.at(rule.where, rule.path)


def _family(indices: Sequence[str], listed: int) -> Family[Any]:
    labels: list[Label] = [None, *indices] if listed > 1 else [*indices]
    members = listed if listed > 1 else 1
    ranges = tuple(tuple(range(members)) if label is None else (0,) for label in labels)
    return Family(tuple(labels), ranges, (None,) * members)


@dataclass(frozen=True)
class _Trace:
    """An op of which only the fan counts."""

    uses: Fan | None = None
    makes: Fan | None = None

    def apply(self, tensors: Sequence[Any]) -> list[Any]:
        return [None] * (self.makes.size if self.makes else 1)


def _after(family: Family[Any], call: OpCall, known: Sequence[str], rule: Rule) -> Family[Any]:
    fan = next((a for a in fields(OPS[call.name]) if a.metadata["kind"] == "fan"), None)
    if fan is None:
        return family
    label: Label = call.arguments.get(fan.name)
    if label is not None and label not in known:
        hint = suggest(label, known) or f"indices here: {', '.join(known) or 'none'}"
        raise OpError(f"there is no index {label!r}", "ME302", hint)
    if fan.name == "over":
        return apply_op(family, cast("Op", _Trace(uses=Fan(label, 1))))
    size = len(rule.targets) if label is None else 1
    if label is None and size == 1:
        message = "without `into` the parts are the rule's list of targets, and that is one key"
        joins = "concat and stack join several" if len(rule.sources) > 1 else ""
        raise OpError(message, "ME302", joins or f"into: {' or '.join(known)}" if known else joins)
    return apply_op(family, cast("Op", _Trace(makes=Fan(label, size))), tuple(range(size)))


def _check_axes(call: OpCall, mapping: Mapping) -> None:
    """Refuses a bracket with two axes that are neither a number nor a field."""
    for value in call.arguments.values() if call.name == "rearrange" else ():
        left, _, numbers = parse_axes(value)
        for bracket in left:
            free = [axis for axis in bracket if axis not in numbers and axis not in mapping.fields]
            if len(free) > 1:
                message = f"({' '.join(bracket)}): none of {', '.join(free)} is a config field"
                help = "one axis of a bracket may be new; the others are numbers or config fields"
                raise OpError(message, "ME304", help)
