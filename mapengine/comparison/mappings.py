"""Two mappings by what they do to their examples: which elements of which tensors go where.

How a rule is written is no difference. The fields and sides are compared as they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mapengine.binding.inventory import Address
from mapengine.binding.names import Settings
from mapengine.comparison.saying import Said, said
from mapengine.errors import PlanError, Where
from mapengine.explanation.known import Known, models
from mapengine.fold import fold, without_numbers
from mapengine.language.mapping import Layout, OpCall, Rule
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.ops import Axes, Fan, Op
from mapengine.planning.coverage import drop_absent
from mapengine.planning.expand import Step
from mapengine.planning.lowering import lower
from mapengine.planning.plan import as_written
from mapengine.specs import StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import Agreed, Combined, Filled, Joined, Lazy, Mapped, View


@dataclass(frozen=True, slots=True)
class Made:
    """How a target tensor is made: of which tensors, by which ops, and what it is.

    `elements` says which element of which tensor each of its own is, however that is written.
    """

    sources: tuple[str, ...]
    ops: tuple[str, ...]
    spec: TensorSpec
    elements: Any
    optional: bool
    where: Where

    @property
    def what(self) -> tuple[Any, ...]:
        """All that makes it another tensor."""
        return self.spec, self.elements, self.optional


@dataclass(frozen=True, slots=True)
class TargetChange:
    """Target keys that differ in numbers alone, and how they are made; None where they are not."""

    keys: str
    count: int
    layouts: tuple[str, ...]
    one: Made | None
    other: Made | None


@dataclass(frozen=True, slots=True)
class SaidChange:
    """Something a mapping says beside its rules; None where it does not."""

    name: str
    one: Said | None
    other: Said | None


@dataclass(frozen=True, slots=True)
class MappingDiff:
    """What is not the same of two mappings; `same` counts the targets that are made alike.

    `layouts` counts those that both have: only in these targets are compared.
    """

    said: tuple[SaidChange, ...]
    targets: tuple[TargetChange, ...]
    same: int
    layouts: int

    @property
    def is_empty(self) -> bool:
        return not self.said and not self.targets and self.layouts > 0


def compare_mappings(one: MappingFile, other: MappingFile) -> MappingDiff:
    """Raises `MapengineError` where the example of either cannot be planned."""
    first, second = said(one), said(other)
    names = [*first, *(name for name in second if name not in first)]
    changes = [SaidChange(name, first.get(name), second.get(name)) for name in names]
    differ = [c for c in changes if (c.one and c.one.text) != (c.other and c.other.text)]
    made, more = dict(_all_made(one)), dict(_all_made(other))
    found: dict[Any, tuple[list[str], list[str], Made | None, Made | None]] = {}
    same = 0
    shared = [layout for layout in made if layout in more]
    for layout in shared:
        name = _layout_name(one, layout)
        for key in {**made[layout], **more[layout]}:
            both = made[layout].get(key), more[layout].get(key)
            if both[0] and both[1] and both[0].what == both[1].what:
                same += 1
                continue
            alike = without_numbers(key[0]), *map(_alike, both)
            keys, layouts, *_ = found.setdefault(alike, ([], [], *both))
            keys.append(key[0])
            layouts.append(name)
    targets = [
        TargetChange(pattern, count, tuple(dict.fromkeys(layouts)), *both)
        for keys, layouts, *both in found.values()
        for pattern, count in fold(dict.fromkeys(keys))
    ]
    return MappingDiff(tuple(differ), tuple(targets), same, len(shared))


def _alike(made: Made | None) -> Any:
    """The same for targets that are made alike but for numbers."""
    if made is None:
        return None
    return (*map(without_numbers, made.sources), *made.ops, made.spec, made.where)


def _layout_name(mapping: MappingFile, layout: Layout) -> str:
    sides = [side for side in mapping.sides.values() if side.choices]
    return " → ".join(side.layout_name(layout) for side in sides)


def _all_made(mapping: MappingFile) -> Iterator[tuple[Layout, dict[Address, Made]]]:
    """Every target of a mapping's example, by layout."""
    for known in models(mapping, None, Settings(), None, "source"):
        if known.problems:
            raise PlanError(*known.problems)
        steps = drop_absent(known.expansion.steps, known.binding)
        made = {key: one for step in steps for key, one in _made(step, known)}
        yield known.binding.layout, made


def _made(step: Step, known: Known) -> Iterator[tuple[Address, Made]]:
    binding, ops = known.binding, list[str]()
    tensors: dict[Address, Any] = {}
    names: dict[int, str] = {}
    for address in step.sources.members:
        spec = binding.tensors[address].spec
        marked = StoredTensor(spec, TensorLocation("", 0, contiguous_strides(spec.shape)))
        tensors[address] = marked
        names[id(marked)] = ", ".join(map(str, (address[0], *address[1])))

    def watch(call: OpCall, op: Op, before: object, after: object) -> None:
        ops.append(op_text(call, op))

    rule: Rule = step.rule
    for address, content, _ in lower([step], replace(binding, tensors=tensors), watch).made:
        content = as_written(content, binding.write.dtype, rule)
        elements = _elements(content, names)
        told = ops if rule.constant is None else [f"value {rule.constant}"]
        yield (
            address,
            Made(
                tuple(names.values()),
                tuple(told),
                content.spec,
                elements,
                rule.optional,
                rule.where,
            ),
        )


def op_text(call: OpCall, op: Op) -> str:
    """An op with its arguments worked out: `RopePermute(heads=2)` as `rope_permute heads=2`."""
    arguments = ", ".join(
        f"{name.rstrip('_')}={_plain(getattr(op, name, value))}"
        for name, value in call.arguments.items()
    )
    return f"{call.name} {arguments}".strip()


def _plain(value: Any) -> Any:
    """An argument as it is written: of a fan its index, of axes their pattern."""
    match value:
        case Fan():
            return value.index
        case Axes():
            return value.pattern
        case tuple():
            return list(value)
    return value


def _elements(content: Lazy, names: Mapping[int, str]) -> Any:
    """Which element of which source each element of a tensor is, and what is done to it."""
    match content:
        case View(source=StoredTensor() as stored):
            return names[id(stored)], content.parts, content.offset
        case View(source=Lazy() as buffer):
            return _elements(buffer, names), content.parts, content.offset
        case Joined():
            return content.dim, *(_elements(one, names) for one in content.members)
        case Mapped():
            return repr(content.op), _elements(content.content, names)
        case Agreed():
            return "same", *(_elements(one, names) for one in content.members)
        case Combined():
            return repr(content.op), *(_elements(one, names) for one in content.members)
        case Filled():
            return content.value, content.shape
    raise TypeError(f"nothing is known of a {type(content).__name__}")
