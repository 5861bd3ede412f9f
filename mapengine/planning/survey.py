"""A binding taken as far as it goes: its plan, or else everything that stands in its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mapengine.binding.binding import Binding
from mapengine.binding.inventory import Address
from mapengine.errors import PlanError, Problem
from mapengine.language.mapping import Rule
from mapengine.planning.coverage import drop_absent
from mapengine.planning.expand import Step, expand
from mapengine.planning.plan import Options, Plan, PlannedTensor, make_plan


@dataclass(frozen=True)
class Survey:
    """What a mapping means for one checkpoint, also where there can be no plan of it.

    `steps` are those of rules that hold and whose tensors are not optional and absent.
    """

    binding: Binding
    steps: tuple[Step, ...]
    plan: Plan | None
    problems: tuple[Problem, ...] = ()

    @cached_property
    def by_rule(self) -> dict[str, list[Step]]:
        """The steps by the path of their rule."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.rule.path, []).append(step)
        return found

    @cached_property
    def written(self) -> dict[Address, tuple[str, PlannedTensor]]:
        """Each tensor of the plan by the key the mapping gives it, with the file it goes to."""
        if self.plan is None:
            return {}
        root = self.binding.write.root_in(self.binding.layout)
        below = {file.name: file.prefix for file in self.binding.outputs}
        return {
            (below.get(shard.name, "") + tensor.key.removeprefix(root), tensor.rank): (
                shard.name,
                tensor,
            )
            for shard in self.plan.shards
            for tensor in shard.tensors
        }

    @cached_property
    def read_from(self) -> dict[Address, str]:
        """The file in which each tensor is that is read."""
        binding, found = self.binding, dict[Address, str]()
        root = binding.read.root_in(binding.layout)
        for file in binding.files:
            indices = dict(file.indices)
            rank = tuple(indices[name] for name in binding.ranks if name in indices)
            for key in binding.names.inventory.files[file.name].tensors:
                if key.startswith(root):
                    found.setdefault((file.prefix + key.removeprefix(root), rank), file.name)
        return found

    @cached_property
    def used(self) -> frozenset[Address]:
        """What the steps take of the side that is read."""
        return frozenset(address for step in self.steps for address in step.sources.members)

    @property
    def unused(self) -> Iterator[tuple[str, bool]]:
        """The keys that no step takes, and whether each is left behind by name."""
        for address in self.binding.tensors:
            if address not in self.used:
                yield address[0], self.binding.ignores(address[0])

    @property
    def idle(self) -> Sequence[Rule]:
        """The rules that do nothing here."""
        return [rule for rule in self.binding.mapping.rules if rule.path not in self.by_rule]


def survey(binding: Binding, options: Options | None = None, after: Plan | None = None) -> Survey:
    """Never raises for what is wrong with the checkpoint: `problems` lists it."""
    steps = drop_absent(expand(binding).steps, binding)
    try:
        return Survey(binding, steps, make_plan(binding, options, after))
    except PlanError as error:
        return Survey(binding, steps, None, error.problems)
