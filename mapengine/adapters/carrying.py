"""The updates of an adapter through the rules of one model: the factors they have over there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mapengine.adapters.blocks import Block, blocks_of, marked, touches
from mapengine.adapters.factors import Factors, Identity, factors_of
from mapengine.adapters.model import Model
from mapengine.adapters.reading import Adapter
from mapengine.binding.inventory import Address
from mapengine.errors import OpError, Problem
from mapengine.language.mapping import Rule
from mapengine.ops.cast import Cast
from mapengine.planning.expand import Step
from mapengine.planning.plan import as_written
from mapengine.specs import DTYPES, StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import Content, Lazy, Mapped

WEIGHT = ".weight"
MERGE = "merge the adapter into the weights with PEFT, and map those"
_ONE = ("same", "copy")
"""Ops that take equal tensors for one, there or back: the first one's update stands for all."""
_NO_WEIGHT = "which is no module's weight: PEFT has another kind of adapter for such parameters"
_APART = f"a layout of the side that is written may keep matrices apart, --layout; or {MERGE}"


@dataclass
class Complaints:
    """Problems of rules, each said once: layers are alike."""

    found: dict[tuple[str, str], Problem] = field(default_factory=dict)

    def add(self, error: OpError, rule: Rule, names: Iterable[str]) -> None:
        problem = error.at(rule.where, rule.path)
        message = f"{' and '.join(dict.fromkeys(names))}: {problem.message}"
        told = replace(problem, message=message, help=problem.help or MERGE)
        self.found.setdefault((rule.path, problem.code), told)


Carried = dict[str, tuple[Factors, Rule]]
"""New factors by the key of the weight that they update, and the rule that they come of."""


def carried_updates(
    model: Model, adapter: Adapter, identity: Identity, dtype: str | None, complaints: Complaints
) -> Carried:
    """The factors of every weight of the side that is written that is updated.

    Raises `PlanError` where the rules do not fit; what they do to factors that is not legal is
    added to the `complaints`.
    """
    steps = model.steps_of(adapter.updates)
    tensors: dict[Address, Content] = {}
    sources: dict[int, str] = {}
    for step in steps:
        try:
            stored = _stored(step, model, adapter)
        except OpError as error:
            complaints.add(error, step.rule, _adapted(step, adapter))
            continue
        tensors |= stored
        sources |= {id(one): key for (key, _), one in stored.items() if key in adapter.updates}
    if complaints.found:
        return {}
    makers = {key: step for step in steps for key, _ in step.targets.members}
    carrier = _Carrier(adapter, identity, dtype)
    carried: Carried = {}
    for (key, _), content, rule in model.made(steps, tensors).made:
        try:
            if factors := carrier.factors(key, content, rule, sources):
                carried[key] = factors, rule
        except OpError as error:
            complaints.add(error, rule, _adapted(makers[key], adapter))
    told = {path for path, _ in complaints.found}
    for key, loss in carrier.lost(model):
        rule = model.users[key][0].rule
        if rule.path not in told:  # its update is lost for the reason that is told
            complaints.add(loss, rule, [adapter.updates[key].module])
    return carried


def _adapted(step: Step, adapter: Adapter) -> list[str]:
    """The modules with factors that a step takes the weights of."""
    keys = [key for key, _ in step.sources.members if key in adapter.updates]
    return [adapter.updates[key].module for key in keys]


def _stored(step: Step, model: Model, adapter: Adapter) -> dict[Address, StoredTensor]:
    """What a step takes: the weights that are updated with their rows and columns marked."""
    updates = [adapter.updates.get(key) for key, _ in step.sources.members]
    known = [update for update in updates if update is not None]
    if any(update.table for update in known) and len(step.targets.members) > 1:
        raise OpError("which of its copies or parts is a table is not known", "ME341")
    whole = len(known) == len(updates)
    specs = {} if whole else model.specs(step, known[0].b.spec.dtype)
    found: dict[Address, StoredTensor] = {}
    stated = model.dtypes(step)
    for address, update in zip(step.sources.members, updates, strict=True):
        if update is not None:
            spec = update.weight(adapter.config.inputs_first)
            spec = replace(spec, dtype=stated.get(address, spec.dtype))
            found[address] = marked(spec, adapter.file)
        else:
            strides = contiguous_strides(specs[address].shape)
            location = TensorLocation(adapter.file, 0, strides)
            found[address] = StoredTensor(specs[address], location)
    return found


class _Carrier:
    """Makes factors, and keeps account of which rows and columns of the old ones they hold."""

    def __init__(self, adapter: Adapter, identity: Identity, dtype: str | None) -> None:
        self._adapter, self._identity, self._dtype = adapter, identity, dtype
        self._held: dict[str, list[np.ndarray[Any, np.dtype[np.bool_]]]] = {}

    def factors(
        self, key: str, content: Lazy, rule: Rule, sources: Mapping[int, str]
    ) -> Factors | None:
        """The factors of the update of a weight, if it has one. Raises `OpError`."""
        if not touches(content, sources):
            return None
        if not key.endswith(WEIGHT):
            raise OpError(f"it becomes part of {key}, {_NO_WEIGHT}", "ME341", _APART)
        blocks = blocks_of(content, sources, self._alike)
        self._note(blocks)
        by_rule = any(call.name == "cast" for call in rule.ops)
        if by_rule and not DTYPES[content.dtype].floating:
            raise OpError(f"it becomes {content.dtype}, which holds no small updates", "ME341")
        adapter = self._adapter
        made = factors_of(content, blocks, adapter.updates, adapter.config, self._identity)
        if by_rule:
            return replace(made, a=_cast(made.a, content.dtype), b=_cast(made.b, content.dtype))
        a, b = (as_written(one, self._dtype, rule) for one in (made.a, made.b))
        return replace(made, a=a, b=b)

    def _alike(self, one: str, other: str) -> bool:
        """Whether two weights are updated alike, bit for bit."""
        first, second = self._adapter.updates[one], self._adapter.updates[other]
        alpha_of, same = self._adapter.config.alpha_of, self._identity
        return (
            first.table == second.table
            and alpha_of(first.module) == alpha_of(second.module)
            and same(first.a) == same(second.a)
            and same(first.b) == same(second.b)
        )

    def _note(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            if block.source not in self._held:
                first, *rest = self._weight(block.source).shape
                self._held[block.source] = [np.zeros(n, bool) for n in (first, math.prod(rest))]
            rows, cols = self._held[block.source]
            if block.turned:
                rows, cols = cols, rows
            rows[block.from_rows] = cols[block.from_cols] = True

    def _weight(self, key: str) -> TensorSpec:
        return self._adapter.updates[key].weight(self._adapter.config.inputs_first)

    def lost(self, model: Model) -> Iterator[tuple[str, OpError]]:
        """The weights parts of whose update come to no target: they may not go in silence."""
        for key in self._adapter.updates:
            rule = model.users[key][0].rule
            if key not in self._held and not any(call.name in _ONE for call in rule.ops):
                yield key, OpError("its update comes to no target", "ME340")
            for what, held in zip(("rows", "columns"), self._held.get(key, ()), strict=False):
                if not held.all():
                    count = int((~held).sum())
                    yield key, OpError(f"{count} {what} of it come to no target", "ME340")


def _cast(content: Lazy, dtype: str) -> Lazy:
    return content if content.dtype == dtype else Mapped.of(Cast(dtype), content)
