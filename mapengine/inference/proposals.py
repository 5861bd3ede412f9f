"""Ops that shapes ask for: what would make tensors of one shape of those of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mapengine.inference.steps import Op

Shape = tuple[int, ...]
FanSize = tuple[str, int]
"""An index that stands on one side only, and how many it counts."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Ops that fit the shapes, and what of that the shapes leave open."""

    ops: tuple[Op, ...]
    doubt: str = ""


def proposals(
    source: Shape, target: Shape, uses: Sequence[FanSize], makes: Sequence[FanSize]
) -> Iterator[Proposal]:
    """The ways from one shape to another, where fans are used up and made; the plainest first.

    A rank whose parts have the shape of the whole is taken for replicas.
    """
    if len(makes) == 1 and not uses:
        yield from _parted(source, target, *makes[0])
    elif len(uses) == 1 and not makes:
        name, size = uses[0]
        if name == "rank" and source == target:
            yield Proposal((Op("same", "rank"),))
        for one in _parted(target, source, name, size):
            yield Proposal(tuple(_back(op) for op in reversed(one.ops)), one.doubt)
    elif not uses and not makes:
        yield from _alone(source, target)
    elif len(uses) == 2 and uses[0][0] == "" and not makes:
        yield from _pairs(source, target, uses)


def _alone(source: Shape, target: Shape) -> Iterator[Proposal]:
    if source == target:
        yield Proposal(())
    elif len(source) == 2 and source == target[::-1]:
        yield Proposal((Op("transpose", order=(0, 1)),))
    elif len(source) > 2 and sorted(source) == sorted(target) and len({*source}) == len(source):
        yield Proposal((Op("permute", order=tuple(source.index(size) for size in target)),))


def _parted(source: Shape, target: Shape, name: str, size: int) -> Iterator[Proposal]:
    """One tensor as the members of a fan: cut along an axis, or off a first axis of its own."""
    fan = name or None
    for turned in (False, True) if len(target) == 2 and target[0] != target[1] else (False,):
        part = target[::-1] if turned else target
        after = (Op("transpose", order=(0, 1)),) if turned else ()
        if source == (size, *part):
            yield Proposal((Op("unstack", fan, 0), *after))
        for dim in range(len(part)):
            whole = (*part[:dim], part[dim] * size, *part[dim + 1 :])
            if whole == source:
                yield Proposal((Op("split", fan, dim), *after), _order(dim))


def _order(dim: int) -> str:
    return f"whether the parts lie one after another along axis {dim}, shapes do not tell"


def _pairs(source: Shape, target: Shape, uses: Sequence[FanSize]) -> Iterator[Proposal]:
    """A list of keys and a fan as one: gate and up of all experts, say."""
    (_, length), (name, size) = uses
    for turned in (False, True):
        part = source[::-1] if turned else source
        before = (Op("transpose", order=(0, 1)),) if turned else ()
        for dim in range(len(part)):
            whole = (size, *part[:dim], part[dim] * length, *part[dim + 1 :])
            if whole == target:
                joined = (Op("concat", None, dim), Op("stack", name, 0))
                yield Proposal((*before, *joined), _order(dim + 1))


def uneven(whole: Shape, parts: Sequence[Shape]) -> tuple[int, tuple[int, ...]] | None:
    """The axis, and the sizes along it, by which parts make up a whole."""
    if any(len(part) != len(whole) for part in parts):
        return None
    for dim in range(len(whole)):
        others = {(*part[:dim], *part[dim + 1 :]) for part in parts}
        sizes = tuple(part[dim] for part in parts)
        if others == {(*whole[:dim], *whole[dim + 1 :])} and sum(sizes) == whole[dim]:
            return dim, sizes
    return None


_INVERSES = {"split": "concat", "unstack": "stack"}


def _back(op: Op) -> Op:
    return Op(_INVERSES.get(op.name, op.name), op.fan, op.dim, order=op.order)
