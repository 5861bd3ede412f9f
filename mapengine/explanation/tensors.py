"""A tensor's key: the rule that takes or makes it, what the ops do, and where it lies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mapengine.binding.binding import Binding
from mapengine.binding.inventory import Address
from mapengine.errors import Problem
from mapengine.explanation.known import Known
from mapengine.language.mapping import OpCall, Rule
from mapengine.ops import Op
from mapengine.planning.budget import leaves
from mapengine.planning.coverage import drop_absent
from mapengine.planning.expand import Family, Step
from mapengine.planning.lowering import Lowered, lower
from mapengine.planning.plan import as_written
from mapengine.specs import (
    DTYPES,
    StoredTensor,
    TensorLocation,
    TensorSpec,
    contiguous_strides,
)
from mapengine.views import Lazy


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor that a step takes or makes: what it is, and the file it is in.

    Of one that is read from a real file, `start` and `end` say which bytes; `spec` is None where it
    is not there.
    """

    key: str
    rank: dict[str, int | str]
    spec: TensorSpec | None
    file: str | None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An op, and the tensors of its step before and after it."""

    call: OpCall
    undone: bool
    before: tuple[TensorSpec, ...]
    after: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class TensorExplained:
    """One rule at one index, as far as it bears on the key that was asked for.

    `taken` and `made` are what the key goes into or comes of; `others` counts the tensors of the
    step that it has nothing to do with. `cast` is the dtype that its side, and no rule, says.
    """

    name: str
    sides: tuple[str, ...]
    example: bool
    rule: Rule
    indices: dict[str, int | str]
    layout: str
    taken: tuple[Part, ...]
    changes: tuple[Change, ...]
    made: tuple[Part, ...]
    cast: str | None
    others: int
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def keys_of(known: Known) -> Iterator[str]:
    """Every key that a rule takes or makes, and every one that is there."""
    for step in known.expansion.steps:
        yield from (key for key, _ in step.sources.members)
        yield from (key for key, _ in step.targets.members)
    yield from (key for key, _ in known.binding.tensors)


def tensors_called(known: Known, name: str) -> Iterator[TensorExplained]:
    """What becomes of a key, and what it comes of: once for each step that has it.

    The text of a pattern is the key at the first of its indices.
    """
    binding = known.binding
    told: set[str] = set()
    for step in known.expansion.steps:
        found: list[TensorExplained] = []
        for side, members in ((binding.read, step.sources), (binding.write, step.targets)):
            root = side.root_in(binding.layout)
            asked = {a for a in members.members if name in (a[0], root + a[0])}
            if not asked and step.rule.path not in told:
                at = [p.text for p in step.rule.keys(side.name)]
                asked = set(members.members[:1]) if name in at else asked
            if asked:
                found.append(_explained(known, step, side.name, members, asked))
        told |= {one.rule.path for one in found}
        yield from _as_one(found)


def _as_one(found: list[TensorExplained]) -> list[TensorExplained]:
    """The key of both sides once, where it goes into itself alone."""
    if len(found) == 2 and replace(found[1], sides=found[0].sides) == found[0]:
        return [replace(found[0], sides=found[0].sides + found[1].sides)]
    return found


def _explained(
    known: Known, step: Step, side: str, members: Family[Address], asked: set[Address]
) -> TensorExplained:
    binding, changes = known.binding, list[Change]()
    undone = binding.read.name != "source"

    def watch(call: OpCall, op: Op, before: Family[Any], after: Family[Any]) -> None:
        changes.append(Change(call, undone, _specs(before), _specs(after)))

    marked = _marked(step, binding)
    lowered = lower([step], replace(binding, tensors=dict(marked)), watch)
    contents = {address: content for address, content, _ in lowered.made}
    taken, makes = _connected(step, contents, marked, side == binding.read.name, asked)
    made, casts = _made(known, step, makes, contents)
    members_of_both = len(step.sources.members) + len(step.targets.members)
    return TensorExplained(
        next(iter(asked))[0],
        (side,),
        known.example,
        step.rule,
        step.indices | _bound(members, asked),
        _layout(binding),
        tuple(_part(known, address) for address in taken),
        tuple(changes),
        made,
        next(iter(casts), None),
        members_of_both - len(taken) - len(made),
        tuple(_notes(step, known, lowered)),
        lowered.problems,
    )


def _connected(
    step: Step,
    contents: Mapping[Address, Lazy],
    marked: Mapping[Address, StoredTensor],
    takes: bool,
    asked: set[Address],
) -> tuple[list[Address], list[Address]]:
    """What the tensors asked for come of, and what they go into; all where ops did not fit."""
    sources, targets = step.sources.members, step.targets.members
    taken_by = {address: _taken(content, marked) for address, content in contents.items()}
    if takes:
        goes_to = {address for address, taken in taken_by.items() if taken & asked}
        return _only(sources, asked), _only(targets, goes_to if contents else set(targets))
    taken = set[Address]().union(*(taken_by.get(one, set(sources)) for one in asked))
    return _only(sources, taken), _only(targets, asked)


def _made(
    known: Known, step: Step, makes: Sequence[Address], contents: Mapping[Address, Lazy]
) -> tuple[tuple[Part, ...], set[str]]:
    """The tensors that are written, and the dtypes that their side casts them to."""
    binding = known.binding
    dtype = binding.names.settings.dtype or binding.write.dtype
    written = {a: as_written(contents[a], dtype, step.rule).spec for a in makes if a in contents}
    casts = {spec.dtype for a, spec in written.items() if spec.dtype != contents[a].dtype}
    parts = [
        Part(a[0], _rank(binding.written_ranks, a), written.get(a), known.homes.get(a))
        for a in makes
    ]
    return tuple(parts), casts


def _only(members: Sequence[Address], wanted: Collection[Address]) -> list[Address]:
    return [address for address in members if address in wanted]


def _specs(family: Family[Any]) -> tuple[TensorSpec, ...]:
    return tuple(member.spec for member in family.members)


def _marked(step: Step, binding: Binding) -> dict[Address, StoredTensor]:
    """What a step takes, each a tensor of its own, so that what is made of it can be told."""
    found: dict[Address, StoredTensor] = {}
    for address in step.sources.members:
        if (one := binding.tensors.get(address)) is not None:
            file = one.location.file if isinstance(one, StoredTensor) else ""
            location = TensorLocation(file, 0, contiguous_strides(one.spec.shape))
            found[address] = StoredTensor(one.spec, location)
    return found


def _taken(content: Lazy, marked: Mapping[Address, StoredTensor]) -> set[Address]:
    """The tensors that one is made of."""
    sources = {id(leaf.source) for leaf in leaves(content)}
    return {address for address, one in marked.items() if id(one) in sources}


def _bound(members: Family[Address], asked: Collection[Address]) -> dict[str, int | str]:
    """The values of the indices of a fan that all keys asked for share."""
    found: dict[str, set[int | str]] = {}
    for values, address in zip(product(*members.ranges), members.members, strict=True):
        for label, value in zip(members.labels, values, strict=True):
            if label is not None and address in asked:
                found.setdefault(label, set()).add(value)
    return {label: next(iter(values)) for label, values in found.items() if len(values) == 1}


def _rank(ranks: Sequence[str], address: Address) -> dict[str, int | str]:
    return dict(zip(ranks, address[1], strict=True))


def _layout(binding: Binding) -> str:
    sides = [side for side in (binding.read, binding.write) if side.choices]
    return " → ".join(side.layout_name(binding.layout) for side in sides)


def _part(known: Known, address: Address) -> Part:
    """A tensor of the side that is read."""
    binding = known.binding
    rank = _rank(binding.ranks, address)
    found = binding.tensors.get(address)
    if found is None:
        return Part(address[0], rank, None, None)
    file = _file(binding, address)
    if known.example or not isinstance(found, StoredTensor):
        return Part(address[0], rank, found.spec, file)
    spec, at = found.spec, found.location
    reach = sum((n - 1) * abs(s) for n, s in zip(spec.shape, at.strides, strict=True)) + 1
    size = (reach if spec.numel else 0) * DTYPES[spec.dtype].size
    return Part(address[0], rank, spec, at.file, at.offset, at.offset + size)


def _file(binding: Binding, address: Address) -> str | None:
    """The file that holds a tensor of the side that is read."""
    key, rank = address
    root = binding.read.root_in(binding.layout)
    wanted = set(zip(binding.ranks, rank, strict=True))
    for file in binding.files:
        inside = binding.names.inventory.files[file.name].tensors
        here = key.startswith(file.prefix) and root + key.removeprefix(file.prefix) in inside
        if here and wanted <= set(file.indices):
            return file.name
    return None


def _notes(step: Step, known: Known, lowered: Lowered) -> Iterator[str]:
    binding = known.binding
    absent = [key for key, rank in step.sources.members if (key, rank) not in binding.tensors]
    if absent and not drop_absent([step], binding):
        yield "the rule is optional, and none of its tensors is there"
    elif absent:
        yield f"{len(absent)} tensors that it takes are not there: {absent[0]}"
    for out in lowered.left_out:
        said = "cut off, whatever it is" if out.unchecked else "checked, and not written"
        yield f"{out.content.spec} of {out.key} is {said}"
    if known.problems:
        first = known.problems[0].message.splitlines()[0]
        yield f"the plan fails, so what is written where is not known: {first}"
