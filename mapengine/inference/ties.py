"""Tensors of equal content, such as norms that are all ones: only their keys can pair them."""

from __future__ import annotations

from collections.abc import Sequence

from mapengine.inference.families import pattern_of
from mapengine.inference.files import Address
from mapengine.inference.matching import Group
from mapengine.inference.names import likeness
from mapengine.inference.solving import Solved

_SHOWN = 3


def resolved(tied: Sequence[Group], solved: Sequence[Solved]) -> tuple[list[Group], list[str]]:
    """One group for each pair that the keys make, by what is known of their neighbours.

    What is said of each: that it is a tie, and what else it could have been.
    """
    modules = _modules(solved)
    groups: list[Group] = []
    notes: list[str] = []
    for group in tied:
        pairs = _paired(group, modules)
        groups += [Group((a,), (b,), equal=True) for a, b in pairs]
        for a, b in pairs[:1]:
            others = [one.key for one in group.sources if one != a][:_SHOWN]
            more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
            notes.append(
                f"{b.key}{more} equal in content: {a.key} is taken by name; or {', '.join(others)}"
            )
    return groups, notes


def _modules(solved: Sequence[Solved]) -> dict[str, set[str]]:
    """Of each module of the source, and all above it, which of the target its tensors go to."""
    known: dict[str, set[str]] = {}
    for one in solved:
        for ours in one.instance.sources:
            for theirs in one.instance.targets:
                a, b = ours.members()[0].key, theirs.members()[0].key
                known.setdefault(a.rpartition(".")[0], set()).add(b.rpartition(".")[0])
    return known


def _paired(group: Group, modules: dict[str, set[str]]) -> list[tuple[Address, Address]]:
    scored = sorted(
        (-_score(a, b, modules), abs(i - j), i, j)
        for i, a in enumerate(group.sources)
        for j, b in enumerate(group.targets)
    )
    left, right = set(range(len(group.sources))), set(range(len(group.targets)))
    pairs = []
    for _, _, i, j in scored:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            pairs.append((group.sources[i], group.targets[j]))
    return sorted(pairs, key=lambda pair: group.targets.index(pair[1]))


def _score(source: Address, target: Address, modules: dict[str, set[str]]) -> float:
    ours, theirs = pattern_of(source), pattern_of(target)
    numbers = 2.0 if ours[1] == theirs[1] else 0.0
    module, _, last = source.key.rpartition(".")
    other, _, end = target.key.rpartition(".")
    known = 4.0 if other in modules.get(module, ()) else 0.0
    return known + numbers + (1.0 if last == end else 0.0) + likeness(source.key, target.key)
