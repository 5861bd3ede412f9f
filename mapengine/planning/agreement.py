"""All layouts of a mapping make the same tensors of its example: what one knows, all must."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping

from mapengine.errors import MappingError, Problem
from mapengine.language.mapping import Layout
from mapengine.planning.plan import Plan, PlannedTensor


def check_layouts_agree(plans: AnyMapping[Layout, Plan]) -> None:
    """Raises `MappingError` where layouts of one example come out with other keys or shapes.

    A cut along the wrong axis, or a transpose that one layout forgot, shows here.
    """
    (first, plan), *others = plans.items()
    named = plan.binding.read.layout_name
    wanted = {tensor.key: tensor for tensor in plan.tensors}
    problems: dict[str, Problem] = {}
    for layout, other in others:
        made = {tensor.key: tensor for tensor in other.tensors}
        for key in sorted(wanted.keys() ^ made.keys()):
            tensor = wanted.get(key) or made[key]
            only = first if key in wanted else layout
            message = f"{key} is made in layout {named(only)} alone"
            problems.setdefault(tensor.rule.path, _at_rule(message, tensor))
        for key in wanted.keys() & made.keys():
            a, b = wanted[key], made[key]
            if a.spec != b.spec:
                message = (
                    f"{key} comes out as {a.spec} in layout {named(first)} "
                    f"({a.rule.where}), and as {b.spec} in {named(layout)}"
                )
                problems.setdefault(b.rule.path, _at_rule(message, b))
    if problems:
        raise MappingError(*problems.values())


def _at_rule(message: str, tensor: PlannedTensor) -> Problem:
    return Problem("ME224", message, tensor.rule.where, tensor.rule.path)
