"""All that is found of two checkpoints: by content, by neighbours, and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mapengine.inference.beyond import constants, likewise, siblings
from mapengine.inference.families import Instance, families, form, instance
from mapengine.inference.files import Address
from mapengine.inference.indices import Indices
from mapengine.inference.matching import Group, match
from mapengine.inference.quantised import dequantised
from mapengine.inference.rules import Rule, rules
from mapengine.inference.sample import Sample
from mapengine.inference.scaled import scaled
from mapengine.inference.solving import Solved, solve
from mapengine.inference.steps import Op
from mapengine.inference.ties import resolved


@dataclass
class Finding:
    """Groups of tensors with their ops, what of that is a tie, and what is in no group."""

    source: Sample
    target: Sample
    solved: list[Solved] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Address]:
        """The targets that nothing makes."""
        made = {a for one in self.solved for f in one.instance.targets for a in f.members()}
        return [address for address in self.target.addresses if address not in made]

    @property
    def free(self) -> list[Address]:
        """The sources that nothing is made of."""
        used = {a.key for one in self.solved for f in one.instance.sources for a in f.members()}
        return [address for address in self.source.addresses if address.key not in used]

    def rules(self, indices: Indices) -> list[Rule]:
        """The rules, in the order of the source's tensors; those of none come last."""
        forms: dict[object, list[Solved]] = {}
        for one in self.solved:
            bare = Instance(one.instance.sources, one.instance.targets)
            forms.setdefault((form(bare, self.source, self.target), one.ops), []).append(one)
        order = {address: place for place, address in enumerate(self.source.addresses)}
        made = rules(forms.values(), indices)
        last = len(order)
        made.sort(
            key=lambda r: min(
                (order[f.members()[0]] for f in r.first.instance.sources), default=last
            )
        )
        return made


def find(source: Sample, target: Sample) -> Finding:
    """What each target tensor is made of, as far as it can be told."""
    found = Finding(source, target)
    failed = _solve(found, match(source, target).groups)
    pairs, ties = resolved([group for group in failed if group.equal], found.solved)
    _solve(found, pairs)
    found.ties += ties
    _siblings(found)
    found.solved += list(scaled(source, target, found.left, found.free))
    found.solved += list(dequantised(source, target, found.left, found.free))
    for address, value in constants(target, found.left):
        theirs = families([address])
        if theirs:
            found.solved.append(Solved(Instance((), theirs), (Op("constant", word=value),)))
    return found


def _solve(found: Finding, groups: Sequence[Group]) -> list[Group]:
    """Solves what can be solved; the other groups are returned."""
    failed = []
    for group in groups:
        one = instance(group)
        solved = solve(one, found.source, found.target) if one else None
        if solved is None:
            failed.append(group)
        else:
            found.solved.append(solved)
    return failed


def _siblings(found: Finding) -> None:
    for group, weight in list(siblings(found.solved, set(found.left), set(found.free))):
        if all(found.target.constant(address) for address in group.targets):
            solved = likewise(group, weight)
            if solved is not None:
                key = group.targets[0].key
                found.ties.append(
                    f"{key} is the same all over: it is taken to go as its weight does"
                )
        else:
            one = instance(group)
            solved = solve(one, found.source, found.target) if one else None
        if solved is not None:
            found.solved.append(solved)
