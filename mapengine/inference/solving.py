"""The ops of one group of tensors: what its sources, fans and all, must go through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from mapengine.inference.families import Family, Instance
from mapengine.inference.files import NO_RANK
from mapengine.inference.fingerprints import Array
from mapengine.inference.sample import Sample, stacked
from mapengine.inference.solve import arrange
from mapengine.inference.steps import Op, steps
from mapengine.inference.uneven import PartlyTurned, Regrouped

_LONGEST_LIST = 4
"""Keys of a list that are tried in every order."""


@dataclass(frozen=True, slots=True)
class Solved:
    """An instance with its lists in the order of the ops, and the ops."""

    instance: Instance
    ops: tuple[Op, ...]


def solve(one: Instance, source: Sample, target: Sample) -> Solved | None:
    """None where the content is not explained by ops that a rule can name."""
    if one.equal:
        return _equal(one, source, target)
    dtype = target.spec(one.targets[0].members()[0]).dtype
    for sources, targets in _orders(one):
        ordered = Instance(sources, targets)
        left = [_family(source, family, dtype) for family in sources]
        right = [_family(target, family, dtype) for family in targets]
        ops = (
            _uneven(left, right) if _differ(left) or _differ(right) else _even(ordered, left, right)
        )
        if ops is not None:
            return Solved(ordered, (*_casts(ordered, source, target), *ops))
    return None


def _orders(one: Instance) -> Iterator[tuple[tuple[Family, ...], tuple[Family, ...]]]:
    """The lists of both sides in every order, as far as they are short."""
    yield one.sources, one.targets
    if len(one.sources) > 1 and len(one.targets) > 1:
        return
    if 1 < len(one.sources) <= _LONGEST_LIST:
        yield from ((sources, one.targets) for sources in permutations(one.sources))
    if 1 < len(one.targets) <= _LONGEST_LIST:
        yield from ((one.sources, targets) for targets in permutations(one.targets))


def _family(sample: Sample, family: Family, dtype: str) -> Array:
    members = family.members()
    shape = sample.spec(members[0]).shape
    return stacked(sample, members, dtype).reshape(*family.sizes, *shape)


def _differ(arrays: Sequence[Array]) -> bool:
    return len({array.shape for array in arrays}) > 1


def _even(one: Instance, left: Sequence[Array], right: Sequence[Array]) -> list[Op] | None:
    ours = np.stack(left) if len(left) > 1 else left[0]
    theirs = np.stack(right) if len(right) > 1 else right[0]
    found = arrange(ours, theirs)
    fans = _fans(one.sources), _fans(one.targets)
    if isinstance(found, PartlyTurned | Regrouped):
        return None if fans[0] or fans[1] else found.ops(ours.ndim)
    return steps(found, *fans) if found else None


def _fans(listed: Sequence[Family]) -> list[str | None]:
    """The fans of a side, the list first; an index goes by what stands before it in its key."""
    family = listed[0]
    fans: list[str | None] = [None] if len(listed) > 1 else []
    return fans + [_fan(family, slot) for slot in family.fans]


def _fan(family: Family, slot: int) -> str:
    return "rank" if family.pattern.is_rank(slot) else family.pattern.above(slot)


def _equal(one: Instance, source: Sample, target: Sample) -> Solved | None:
    """Tensors that are the same: of one on one side only, for else their keys must pair them."""
    sources = sum(len(family.members()) for family in one.sources)
    targets = sum(len(family.members()) for family in one.targets)
    if sources > 1 and targets > 1:
        return None
    ops = [Op("same", fan) for fan in _fans(one.sources)] + [
        Op("copy", fan) for fan in _fans(one.targets)
    ]
    return Solved(one, (*_casts(one, source, target), *ops))


def _casts(one: Instance, source: Sample, target: Sample) -> list[Op]:
    """How replicas become one, and what dtype they get."""
    first = one.sources[0].members()[0]
    own, wanted = source.spec(first).dtype, target.spec(one.targets[0].members()[0]).dtype
    ops = []
    if first.rank != NO_RANK and first.key in source.replicated:
        ops.append(Op("same", "rank"))
    return [*ops, Op("cast", word=wanted)] if own != wanted else ops


def _uneven(left: Sequence[Array], right: Sequence[Array]) -> list[Op] | None:
    """Parts of different sizes, one after another along an axis, as they are or group by group."""
    if len(left) > 1 and len(right) == 1:
        ops = _uneven(right, left)
        return [_back(op) for op in reversed(ops)] if ops else None
    if len(left) > 1 or len({part.ndim for part in right}) > 1 or left[0].ndim != right[0].ndim:
        return None
    whole = left[0]
    for dim in range(whole.ndim):
        sizes = [part.shape[dim] for part in right]
        others = {(*part.shape[:dim], *part.shape[dim + 1 :]) for part in right}
        if sum(sizes) != whole.shape[dim] or others != {
            (*whole.shape[:dim], *whole.shape[dim + 1 :])
        }:
            continue
        for groups in range(1, min(sizes) + 1):
            if any(size % groups for size in sizes):
                continue
            if np.array_equal(_joined(right, dim, groups), whole):
                return _parted(whole.ndim, dim, groups, sizes)
    return None


def _joined(parts: Sequence[Array], dim: int, groups: int) -> Array:
    apart = [
        part.reshape(*part.shape[:dim], groups, part.shape[dim] // groups, *part.shape[dim + 1 :])
        for part in parts
    ]
    joined = np.concatenate(apart, dim + 1)
    return joined.reshape(*parts[0].shape[:dim], -1, *parts[0].shape[dim + 1 :])


def _parted(axes: int, dim: int, groups: int, sizes: Sequence[int]) -> list[Op]:
    if groups == 1:
        return [Op("split", None, dim, sizes=tuple(sizes))]
    each = tuple(size // groups for size in sizes)
    before = tuple((axis,) if axis != dim else (dim, axes) for axis in range(axes))
    apart = [(axis,) for axis in range(axes)]
    apart[dim + 1 : dim + 1] = [(axes,)]
    digits = (*(groups if axis == dim else 0 for axis in range(axes)), 0)
    return [
        Op("rearrange", axes=(before, tuple(apart)), sizes=digits),
        Op("split", None, dim + 1, sizes=each),
        Op("rearrange", axes=(tuple(apart), before), sizes=digits),
    ]


_INVERSES = {"split": "concat", "concat": "split"}


def _back(op: Op) -> Op:
    left, right = op.axes
    return Op(_INVERSES.get(op.name, op.name), op.fan, op.dim, axes=(right, left), sizes=op.sizes)
