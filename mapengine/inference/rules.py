"""Rules of a mapping: what was found, folded over the indices that count layers and experts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from mapengine.inference.families import Family, Pattern, pattern_of
from mapengine.inference.files import Address
from mapengine.inference.indices import Indices, Place
from mapengine.inference.solving import Solved
from mapengine.inference.steps import Op


@dataclass(frozen=True, slots=True)
class Condition:
    """The values of an index for which a rule holds."""

    index: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as a mapping writes it, but for the names of numbers.

    `all` are the groups it stands for.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    ops: tuple[Op, ...]
    all: tuple[Solved, ...]
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> Solved:
        return self.all[0]

    @property
    def count(self) -> int:
        return len(self.all)


@dataclass
class _Columns:
    """The fixed numbers of one form: of each place its value in every instance."""

    values: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, solved: Sequence[Solved]) -> _Columns:
        columns = cls()
        for one in solved:
            for side, families in (
                ("source", one.instance.sources),
                ("target", one.instance.targets),
            ):
                for number, family in enumerate(families):
                    for slot, values in enumerate(family.ranges):
                        if len(values) == 1 and not family.pattern.is_rank(slot):
                            columns.values.setdefault((side, number, slot), []).append(values[0])
        return columns


def rules(forms: Iterable[Sequence[Solved]], indices: Indices) -> list[Rule]:
    """A rule for each form, or several where its numbers do not count."""
    listed = list(forms)
    for solved in sorted(listed, key=len, reverse=True):
        _learn(solved, indices)
    return [rule for solved in listed for rule in _ruled(solved, indices)]


def _learn(solved: Sequence[Solved], indices: Indices) -> None:
    """Which numbers of the source count as which of the target do."""
    columns = _Columns.of(solved).values
    sides = {"source": solved[0].instance.sources, "target": solved[0].instance.targets}
    varied = {at: values for at, values in columns.items() if len(set(values)) > 1}
    counted = [at for at in varied if at[0] == "target"]
    for at in counted:
        indices.count(_place(at, sides))
    for at in (at for at in varied if at[0] == "source"):
        for other in counted:
            gaps = {a - b for a, b in zip(varied[at], varied[other], strict=True)}
            if len(gaps) == 1:
                indices.follow(_place(at, sides), _place(other, sides), gaps.pop())
                break


def _place(at: tuple[str, int, int], sides: dict[str, tuple[Family, ...]]) -> Place:
    side, number, slot = at
    return Place(side, sides[side][number].pattern.above(slot))


def _ruled(solved: Sequence[Solved], indices: Indices) -> list[Rule]:
    first = solved[0].instance
    columns = _Columns.of(solved).values
    sides = {"source": first.sources, "target": first.targets}
    coordinates = _coordinates(columns, sides, indices)
    if coordinates is None:
        return _one_by_one(solved, indices)
    conditions = _conditions(coordinates, indices)
    if conditions is None:
        return _one_by_one(solved, indices)
    counted = coordinates.keys()
    left = tuple(_text("source", family, indices, counted) for family in first.sources)
    right = tuple(_text("target", family, indices, counted) for family in first.targets)
    ops = tuple(indices.named(op) for op in solved[0].ops)
    return [Rule(left, right, ops, tuple(solved), conditions)]


def _coordinates(
    columns: dict[tuple[str, int, int], list[int]], sides: dict[str, tuple[Family, ...]],
    indices: Indices,
) -> dict[str, list[int]] | None:  # fmt: skip
    """The values of each index that both sides have; None where other numbers vary."""
    found: dict[str, dict[str, list[int]]] = {"source": {}, "target": {}}
    loose: list[tuple[str, list[int]]] = []
    for at, values in columns.items():
        index = indices.of(_place(at, sides))
        own = [value - index.offset for value in values] if index else values
        if index is None or found[at[0]].setdefault(index.name, own) != own:
            loose.append(("", values))
        else:
            loose.append((index.name, values))
    both = {
        n for n, v in found["target"].items() if not sides["source"] or found["source"].get(n) == v
    }
    if any(name not in both and len(set(values)) > 1 for name, values in loose):
        return None
    return {name: values for name, values in found["target"].items() if name in both}


def _conditions(
    coordinates: dict[str, list[int]], indices: Indices
) -> tuple[Condition, ...] | None:
    """For which values the rule holds; None where they are no product of those of each index."""
    sets = {name: sorted(set(values)) for name, values in coordinates.items()}
    points = set(zip(*coordinates.values(), strict=True))
    expected = 1
    for values in sets.values():
        expected *= len(values)
    if coordinates and len(points) != expected:
        return None
    return tuple(
        Condition(name, tuple(values))
        for name, values in sets.items()
        if len(values) != indices.sizes[name]
    )


def _one_by_one(solved: Sequence[Solved], indices: Indices) -> list[Rule]:
    found = []
    for one in solved:
        left = tuple(_text("source", family, indices, ()) for family in one.instance.sources)
        right = tuple(_text("target", family, indices, ()) for family in one.instance.targets)
        found.append(Rule(left, right, tuple(map(indices.named, one.ops)), (one,)))
    return found


def _text(side: str, family: Family, indices: Indices, counted: Collection[str]) -> str:
    """The pattern of a family: indices where its numbers count, and the numbers where not."""
    pattern: Pattern = family.pattern
    holes = []
    for slot, values in enumerate(family.ranges):
        if pattern.is_rank(slot):
            continue
        place = Place(side, pattern.above(slot))
        index = indices.of(place)
        if len(values) > 1:
            holes.append(indices.fan(place, values))
        elif index is None:
            holes.append(str(values[0]))
        else:
            holes.append(index.hole if index.name in counted else indices.beyond(index, values[0]))
    return pattern.text(holes)


def texts(addresses: Iterable[Address], indices: Indices) -> list[str]:
    """The keys of tensors of the source as patterns, with the indices that are known."""
    found = []
    for address in addresses:
        pattern, numbers = pattern_of(address)
        holes = []
        for slot, number in enumerate(numbers):
            index = (
                None if pattern.is_rank(slot) else indices.of(Place("source", pattern.above(slot)))
            )
            holes.append(index.hole if index else str(number))
        found.append(pattern.text(holes))
    return found
