"""What a rule does to its tensors, op by op: shapes and dtypes before and after each.

Most steps of a rule do the same to tensors of the same shapes. They share one trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mapengine.binding.binding import Binding
from mapengine.language.mapping import OpCall, Rule
from mapengine.ops import Op
from mapengine.ops.cast import Cast
from mapengine.planning.expand import Family, Label, Step
from mapengine.planning.lowering import lower
from mapengine.planning.plan import as_written
from mapengine.specs import TensorSpec


@dataclass(frozen=True, slots=True)
class Bundle:
    """The tensors at one point of a step: how many there are of each index, and their specs."""

    fans: tuple[tuple[Label, int], ...]
    specs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """An op, its arguments worked out, and what comes of it.

    Without a call it is the cast to the dtype in which all of its side is written.
    """

    call: OpCall | None
    op: Op
    made: Bundle


@dataclass(frozen=True, slots=True)
class Trace:
    """What is taken, every op that could be done, and what is made, in the order of the keys.

    Nothing is made where something is in the way.
    """

    taken: Bundle
    stages: tuple[Stage, ...]
    made: tuple[TensorSpec, ...]


class Tracer:
    """The traces of one rule's steps, each worked out once."""

    def __init__(self, rule: Rule, binding: Binding) -> None:
        self._rule, self._binding = rule, binding
        self._dtype = binding.names.settings.dtype or binding.write.dtype
        self._traces: dict[Any, Trace | None] = {}

    def of(self, step: Step) -> Trace | None:
        """The trace of a step; None where a tensor is missing."""
        specs = tuple(
            found.spec if (found := self._binding.tensors.get(address)) else None
            for address in step.sources.members
        )
        varying = tuple(v for name, v in step.indices.items() if name in self._varying)
        kind = (specs, varying)
        if kind not in self._traces:
            self._traces[kind] = None if None in specs else self._trace(step)
        return self._traces[kind]

    @cached_property
    def _varying(self) -> frozenset[str]:
        """The indices at which the ops may have other arguments."""
        names = frozenset[str]().union(*(call.names for call in self._rule.ops))
        if self._rule.constant is not None:
            names = names.union(*(one.names for one in self._rule.constant.expressions()))
        return self._binding.names.indices_of(names)

    def _trace(self, step: Step) -> Trace:
        stages: list[Stage] = []

        def watch(call: OpCall, op: Op, before: Family[Any], after: Family[Any]) -> None:
            specs = tuple(member.spec for member in after.members)
            stages.append(Stage(call, op, Bundle(_fans(after), specs)))

        taken = tuple(self._binding.tensors[one].spec for one in step.sources.members)
        contents = {address: one for address, one, _ in lower([step], self._binding, watch).made}
        if not all(address in contents for address in step.targets.members):
            contents = {}
        made = [contents[one] for one in step.targets.members if contents]
        written = tuple(as_written(one, self._dtype, self._rule).spec for one in made)
        if self._dtype and written != tuple(one.spec for one in made):
            stages.append(Stage(None, Cast(self._dtype), Bundle(_fans(step.targets), written)))
        return Trace(Bundle(_fans(step.sources), taken), tuple(stages), written)


def _fans(family: Family[Any]) -> tuple[tuple[Label, int], ...]:
    sizes: Sequence[int] = [len(values) for values in family.ranges]
    return tuple(zip(family.labels, sizes, strict=True))
