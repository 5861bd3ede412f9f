"""What a mapping claims of itself, proven on its example: forward and back, element by element.

Every element of the example's source has a number of its own. The plan is run on those numbers:
each must come to one place of the target, and the way back must bring it to where it began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapengine.binding import config_values
from mapengine.binding.binding import Binding, bind
from mapengine.binding.config_values import told
from mapengine.checkpoints.strided import seen
from mapengine.errors import PlanError, Problem
from mapengine.language.mapping import Rule
from mapengine.ops import OPS, Exactness
from mapengine.planning.exactness import WEAKEST_LAST, exactness
from mapengine.planning.example import example_settings
from mapengine.planning.plan import Plan, PlannedTensor, make_plan
from mapengine.planning.planned import planned_inventory
from mapengine.specs import StoredTensor
from mapengine.views import Agreed, Combined, Content, Filled, Joined, Mapped, View

Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one rule does to its tensors, and on how many of them it was tried."""

    rule: Rule
    exactness: Exactness
    tensors: int
    elements: int


def prove(plan: Plan) -> list[Claim]:
    """Takes the plan of an example back, and compares what comes of it with where it began.

    Raises `PlanError` with everything that is lost, is doubled or does not come back.
    """
    elements = _Elements(plan)
    for out in plan.left_out:  # the mapping says what it is: nothing, or what stands in its place
        elements.leave_out(out.content)
    there = {tensor.key: elements.of(tensor.content) for tensor in plan.tensors}
    problems = list(_used_once(plan, there, elements))
    if not problems and (back := way_back(plan)):
        problems = [*_moved(plan, back, elements), *_other_configs(plan, back)]
    if problems:
        raise PlanError(*problems)
    return _claims(plan)


def merged(claims: Sequence[Sequence[Claim]]) -> list[Claim]:
    """The claims of several layouts: of each rule the weakest one, in the order of the file."""
    by_rule: dict[str, Claim] = {}
    for claim in (claim for one in claims for claim in one):
        other = by_rule.get(claim.rule.path, claim)
        by_rule[claim.rule.path] = max(
            other, claim, key=lambda one: WEAKEST_LAST.index(one.exactness)
        )
    return sorted(by_rule.values(), key=lambda claim: claim.rule.where.line)


def way_back(plan: Plan) -> Plan | None:
    """The plan from what an example's plan makes to the example; None if a rule is one-way.

    Raises `PlanError` where it cannot be made.
    """
    if any(exactness(tensor) is Exactness.ONE_WAY for tensor in plan.tensors):
        return None
    try:
        return make_plan(bound_back(plan), after=plan)
    except PlanError as error:
        told = (replace(p, message=f"on the way back: {p.message}") for p in error.problems)
        raise PlanError(*told) from None


def bound_back(plan: Plan) -> Binding:
    """The mapping of an example's plan, bound to what the plan makes."""
    read, layout = plan.binding.write.name, plan.binding.layout
    settings = example_settings(plan.mapping, layout, read)
    return bind(plan.mapping, planned_inventory(plan), layout, settings, read)


class _Elements:
    """The numbers of all elements of a plan's source, and where they are in views of it."""

    def __init__(self, plan: Plan) -> None:
        self._first: dict[int, int] = {}
        self.stored: list[tuple[str, StoredTensor]] = []
        count = 1  # 0 are those that the mapping says itself
        for file in plan.stored.values():
            for key, one in file.tensors.items():
                self._first[id(one)] = count
                self.stored.append((key, one))
                count += one.spec.numel
        self.same_as = np.arange(count)
        """Of each element the one that it must be equal to: itself, or one it was taken for."""

    def of(self, content: Content) -> Ids:
        """The elements of a tensor, in its shape."""
        match content:
            case StoredTensor():
                start = self._first[id(content)]
                return np.arange(start, start + content.spec.numel).reshape(content.spec.shape)
            case Filled():
                return np.zeros(content.shape, np.int64)
            case View():
                return seen(content, self.of(content.source).reshape(-1)).reshape(content.shape)
            case Joined():
                return np.concatenate([self.of(one) for one in content.members], content.dim)
            case Mapped():
                return self.of(content.content)
            case Agreed() | Combined():  # on the way back, copies of the one stand for all
                first, *others = (self.of(one) for one in content.members)
                for other in others:
                    self.same_as[other] = self.same_as[first]
                return first
        raise TypeError(f"no elements of a {type(content).__name__}")

    def leave_out(self, content: Content) -> None:
        """Makes the elements of a tensor nobody's, and with them those that are taken for them."""
        gone = np.zeros(len(self.same_as), bool)
        gone[self.same_as[self.of(content)]] = True
        self.same_as[gone[self.same_as]] = 0


def _used_once(plan: Plan, there: dict[str, Ids], elements: _Elements) -> Iterator[Problem]:
    """Elements that come to several places of the target, or to none."""
    uses = np.zeros(len(elements.same_as), np.int64)
    uses[0] = 1
    by_rule: dict[str, list[PlannedTensor]] = {}
    for tensor in plan.tensors:
        by_rule.setdefault(tensor.rule.path, []).append(tensor)
    for tensors in by_rule.values():
        rule = tensors[0].rule
        found = np.concatenate([there[tensor.key].reshape(-1) for tensor in tensors])
        found = found[found > 0]
        if any(OPS[call.name].repeats for call in rule.ops):
            found = np.unique(found)
        counts = np.bincount(elements.same_as[found], minlength=len(uses))
        if (counts > 1).any():
            message = (
                f"{rule} writes {int((counts > 1).sum())} elements of the example several times"
            )
            yield Problem("ME320", message, rule.where, rule.path)
        uses += counts
    for key, stored in elements.stored:
        lost = int((uses[elements.same_as[elements.of(stored)]] == 0).sum())
        if lost:
            message = f"{lost} of the {stored.spec.numel} elements of {key} come to no target"
            yield Problem("ME320", message, plan.mapping.target.where)


def _moved(plan: Plan, back: Plan, elements: _Elements) -> Iterator[Problem]:
    """Elements that the way back brings to another place than they came from."""
    told: set[str] = set()
    for shard in back.shards:
        for tensor in shard.tensors:
            rule = tensor.rule
            began = plan.stored[shard.name].tensors.get(tensor.key)
            if began is None or rule.path in told:
                continue
            came, wanted = elements.of(tensor.content), elements.of(began)
            if came.shape != wanted.shape:
                message = f"{tensor.key} comes back as {list(came.shape)}, not {list(wanted.shape)}"
            else:
                wrong = np.argwhere(elements.same_as[came] != elements.same_as[wanted])
                if not len(wrong):
                    continue
                at = [int(i) for i in wrong[0]]
                message = (
                    f"{len(wrong)} of the {wanted.size} elements of {tensor.key} do not come back "
                    f"to where they were; the first is {at}"
                )
            told.add(rule.path)
            yield Problem("ME320", message, rule.where, rule.path)


def _other_configs(plan: Plan, back: Plan) -> Iterator[Problem]:
    """What the example's config says, and the config that comes back does not."""
    began = plan.binding.names.inventory
    inside = {name: file.objects for name, file in began.files.items()}
    came = {**back.configs, **{shard.name: shard.objects for shard in back.shards}}
    for file, config in {**began.configs, **inside}.items():
        for leaf in config_values.leaves(config):
            was = config_values.look_up(config, leaf)
            found = config_values.look_up(came.get(file), leaf)
            if found is config_values.ABSENT or not config_values.equal(was, found):
                now = "nothing" if found is config_values.ABSENT else told(found)
                message = f"{file}: {'.'.join(leaf)} was {told(was)}, and comes back as {now}"
                yield Problem("ME320", message, plan.mapping.source.where)


def _claims(plan: Plan) -> list[Claim]:
    tensors: dict[str, list[PlannedTensor]] = {}
    for tensor in plan.tensors:
        tensors.setdefault(tensor.rule.path, []).append(tensor)
    cut = {out.rule.path for out in plan.left_out if out.unchecked}
    return [_claim(made, path in cut) for path, made in tensors.items()]


def _claim(tensors: Sequence[PlannedTensor], cut: bool) -> Claim:
    kinds = Counter(map(exactness, tensors))
    kinds.update([Exactness.LOSSY] if cut else [])
    weakest = max(kinds, key=WEAKEST_LAST.index)
    return Claim(tensors[0].rule, weakest, len(tensors), sum(t.spec.numel for t in tensors))
