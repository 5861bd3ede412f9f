"""Ops on families of tensors: a fan is a family labelled by index names.

Only an op with `over` or `into` touches a label, and every other op acts on each member, so two
fans have no order to get wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from mapengine.binding.config_values import ValueProblem
from mapengine.binding.scope import Scope
from mapengine.errors import OpError
from mapengine.language.mapping import OpCall
from mapengine.ops import OPS, Axes, Fan, Op
from mapengine.ops.rearrange import axis_names
from mapengine.ops.tensor import Tensor
from mapengine.planning.expand import Family, Label


def bind_op(
    call: OpCall, scope: Scope, ranges: Mapping[Label, Sequence[int | str]], listed: int
) -> Op:
    """The op of a call, its arguments worked out.

    `ranges` are those of the labels that may be named; `listed` is the size of the unnamed list.
    Raises `OpError`, `ExpressionError` or `ValueProblem`.
    """
    kind = OPS[call.name]
    arguments: dict[str, Any] = {}
    for argument in fields(kind):
        as_kind = argument.metadata["kind"]
        if argument.name in call.arguments:
            written = call.arguments[argument.name]
            arguments[argument.name] = _argument(written, as_kind, argument.name, scope, ranges)
        elif as_kind == "fan":
            arguments[argument.name] = Fan(None, listed)
    return kind(**arguments)


def _argument(
    written: Any,
    kind: str,
    name: str,
    scope: Scope,
    ranges: Mapping[Label, Sequence[int | str]],
) -> Any:
    match kind:
        case "integer":
            return _whole(written.evaluate(scope), name)
        case "number":
            value = written.evaluate(scope)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueProblem(f"{name} is {value!r}, where a number is wanted")
            return float(value)
        case "integers":
            values = (
                [one.evaluate(scope) for one in written]
                if isinstance(written, tuple)
                else written.evaluate(scope)
            )
            if not isinstance(values, list):
                raise ValueProblem(f"{name} is {values!r}, where a list is wanted")
            return tuple(_whole(value, name) for value in values)
        case "fan":
            if written not in ranges:
                known = ", ".join(str(label) for label in ranges if label)
                raise OpError(f"there is no index {written!r}", "ME302", f"indices here: {known}")
            return Fan(written, len(ranges[written]))
        case "axes":
            sizes = {axis: scope.name(axis) for axis in axis_names(written) if axis in scope.known}
            return Axes(written, tuple((a, _whole(s, a)) for a, s in sorted(sizes.items())))
    return written


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(f"{name} is {value!r}, where a whole number is wanted")
    return value


def apply_op(family: Family[Tensor], op: Op, made: Sequence[int | str] = ()) -> Family[Tensor]:
    """The family after one op. `made` is the range of the fan that the op makes, if it does."""
    if op.uses is not None:
        return _take_up(family, op, op.uses)
    if op.makes is not None:
        label = op.makes.index
        if label in family.labels:
            raise OpError(f"{_named(label)} is there already", "ME302")
        members = tuple(new for member in family.members for new in op.apply([member]))
        return Family((*family.labels, label), (*family.ranges, tuple(made)), members)
    members = tuple(op.apply([member])[0] for member in family.members)
    return Family(family.labels, family.ranges, members)


def _take_up(family: Family[Tensor], op: Op, fan: Fan) -> Family[Tensor]:
    if fan.index not in family.labels:
        have = ", ".join(map(_named, family.labels)) or "none"
        raise OpError(
            f"{_named(fan.index)} is not there to be used up", "ME302", f"fans here: {have}"
        )
    at = family.labels.index(fan.index)
    order = (*family.labels[:at], *family.labels[at + 1 :], fan.index)
    moved = reorder(family, order)
    size = len(moved.ranges[-1])
    if size == 0:
        raise OpError(f"{_named(fan.index)} has no members to be used up", "ME302")
    groups = [moved.members[i : i + size] for i in range(0, len(moved.members), size)]
    members = tuple(op.apply(group)[0] for group in groups)
    return Family(moved.labels[:-1], moved.ranges[:-1], members)


def reorder(family: Family[Any], labels: Sequence[Label]) -> Family[Any]:
    """The same family, its labels in another order."""
    if tuple(labels) == family.labels:
        return family
    by_position = dict(
        zip(product(*(range(len(r)) for r in family.ranges)), family.members, strict=True)
    )
    axes = [family.labels.index(label) for label in labels]
    ranges = tuple(family.ranges[axis] for axis in axes)
    members = []
    for position in product(*(range(len(r)) for r in ranges)):
        old = [0] * len(axes)
        for axis, at in zip(axes, position, strict=True):
            old[axis] = at
        members.append(by_position[tuple(old)])
    return Family(tuple(labels), ranges, tuple(members))


def settle(family: Family[Tensor], targets: Family[Any]) -> tuple[Tensor, ...]:
    """The members in the order of the target keys. Raises where a fan is left over or lacking."""
    if family.labels != targets.labels:
        _check_labels(family, targets)
    settled = reorder(family, targets.labels)
    if len(settled.members) != len(targets.members):
        raise OpError(f"{len(settled.members)} tensors for {len(targets.members)} keys", "ME302")
    return settled.members


def _check_labels(family: Family[Tensor], targets: Family[Any]) -> None:
    """Raises `OpError` unless both have the same labels, in whatever order."""
    left = [label for label in family.labels if label not in targets.labels]
    if left:
        names = ", ".join(map(_named, left))
        raise OpError(
            f"the rule does not use {names} up", "ME302", "concat, stack, same or mean `over` it"
        )
    lacking = [label for label in targets.labels if label not in family.labels]
    if lacking:
        names = ", ".join(map(_named, lacking))
        raise OpError(
            f"the rule does not make {names}", "ME302", "split, unstack or copy `into` it"
        )


def _named(label: Label) -> str:
    return "the list of keys" if label is None else f"{label!r}"
