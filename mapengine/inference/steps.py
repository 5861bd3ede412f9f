"""The ops of the language that an arrangement comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mapengine.inference.arrangement import Arrangement, Axis, merged

Axes = list[Axis]


@dataclass(frozen=True, slots=True)
class Op:
    """An op with numbers in it, which later get names. `fan` is the index it makes or uses up.

    `axes` are the brackets of a `rearrange`, by digit; `sizes` are those of its digits or parts.
    """

    name: str
    fan: str | None = None
    dim: int = 0
    heads: int = 0
    rotary_dim: int = 0
    order: tuple[int, ...] = ()
    axes: tuple[tuple[Axis, ...], tuple[Axis, ...]] = ((), ())
    sizes: tuple[int, ...] = ()
    word: str = ""


Fans = Sequence[str | None]
"""The index of each of the first axes; None for the list that stands in the rule."""


def steps(found: Arrangement, sources: Fans, targets: Fans) -> list[Op] | None:
    """The ops, where the first axes of the two sides are fans. None where no rule can say it."""
    ours, theirs = found.source[: len(sources)], found.target[: len(targets)]
    if any(len(axis) != 1 for axis in (*ours, *theirs)):
        return None
    uses = {axis[0]: fan for axis, fan in zip(ours, sources, strict=True)}
    makes = {axis[0]: fan for axis, fan in zip(theirs, targets, strict=True)}
    if uses.keys() & makes.keys() or (None in uses.values() and None in makes.values()):
        return None
    ops: list[Op] = []
    axes = _made(list(found.source[len(sources) :]), makes, found.sizes, ops)
    wanted = list(found.target[len(targets) :])
    member = [tuple(d for d in axis if d not in uses) for axis in wanted]
    kept = [one for one, whole in zip(member, wanted, strict=True) if one or not whole]
    _moved(axes, kept, found.sizes, ops)
    _used(kept, member, wanted, uses, found.sizes, ops)
    ops = _heads_last(ops, {fan: found.sizes[digit] for digit, fan in uses.items()})
    return [_plain(op) if makes or uses else op for op in ops]


def _made(axes: Axes, makes: dict[int, str | None], sizes: tuple[int, ...], ops: list[Op]) -> Axes:
    """Takes the digits that become fans out of their axes: `split` and `unstack`."""
    left = dict(makes)
    while left:
        lead = [(axis[0], i) for i, axis in enumerate(axes) if axis and axis[0] in left]
        if not lead:
            first = [tuple(sorted(axis, key=lambda digit: digit not in left)) for axis in axes]
            _moved(axes, first, sizes, ops)
            axes = first
            continue
        digit, place = lead[0]
        alone = len(axes[place]) == 1
        ops.append(Op("unstack" if alone else "split", left.pop(digit), place))
        axes = [*axes[:place], *([] if alone else [axes[place][1:]]), *axes[place + 1 :]]
    return axes


def _used(
    axes: Axes, member: Axes, wanted: Axes, uses: dict[int, str | None], sizes: tuple[int, ...],
    ops: list[Op],
) -> None:  # fmt: skip
    """Puts the digits that were fans into their axes: `concat` and `stack`."""
    there = [bool(one) or not whole for one, whole in zip(member, wanted, strict=True)]
    now = list(member)
    for number, axis in sorted(enumerate(wanted), key=lambda one: not there[one[0]]):
        for digit in reversed(axis):
            if digit not in uses:
                continue
            place = sum(there[:number])
            if there[number]:
                ops.append(Op("concat", uses[digit], place))
            else:
                ops.append(Op("stack", uses[digit], place))
                there[number] = True
            now[number] = (digit, *now[number])
    _moved(now, wanted, sizes, ops)


def _moved(axes: Axes, wanted: Axes, sizes: tuple[int, ...], ops: list[Op]) -> None:
    """The op that moves digits about in one tensor, if one has to."""
    if axes == wanted:
        return
    sets = [frozenset(axis) for axis in axes]
    aims = [frozenset(axis) for axis in wanted]
    if len(sets) == len(aims) and sorted(map(sorted, sets)) == sorted(map(sorted, aims)):
        left = list(range(len(sets)))
        order = []
        for aim in aims:
            order.append(next(i for i in left if sets[i] == aim))
            left.remove(order[-1])
        turned = [axes[i] for i in order]
        rope = _rope(turned[0], wanted[0], sizes) if turned[1:] == wanted[1:] else None
        if turned == wanted or rope:
            if order != sorted(order):
                ops.append(_permuted(order))
            if turned != wanted and rope:
                apart = merged(Arrangement(sizes, tuple(turned), tuple(wanted)))
                ops.append(replace(rope, axes=(apart.source, apart.target), sizes=apart.sizes))
            return
    small = merged(Arrangement(sizes, tuple(axes), tuple(wanted)))
    ops.append(Op("rearrange", axes=(small.source, small.target), sizes=small.sizes))


def _permuted(order: list[int]) -> Op:
    moved = [i for i, place in enumerate(order) if i != place]
    if len(moved) == 2:
        return Op("transpose", order=(moved[0], moved[1]))
    return Op("permute", order=tuple(order))


def _rope(before: Axis, after: Axis, sizes: tuple[int, ...]) -> Op | None:
    """Whether the pairs of each head go from one order to the other."""
    *above, outer, inner = before if len(before) in (2, 3) else (-1, -1)
    if after != (*above, inner, outer) or outer == inner:
        return None
    heads = sizes[above[0]] if above else 1
    if sizes[inner] == 2:
        return Op("rope_permute", heads=heads)
    return Op("rope_unpermute", heads=heads) if sizes[outer] == 2 else None


def _plain(op: Op) -> Op:
    """What looks like the turn of a single head, among tensors that are joined: every other row."""
    if not op.name.startswith("rope") or op.heads != 1:
        return op
    return replace(op, name="rearrange", heads=0)


def _heads_last(ops: list[Op], fans: dict[str | None, int]) -> list[Op]:
    """First the parts of all heads together, then the rotary order: so it is usually said."""
    for i in range(len(ops) - 1):
        rope, concat = ops[i : i + 2]
        if rope.name.startswith("rope") and concat.name == "concat" and concat.dim == 0:
            ops[i : i + 2] = [concat, replace(rope, heads=rope.heads * fans[concat.fan])]
    return ops
