"""What no hash of content finds: by the neighbours of a tensor, by a number, or made of nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from mapengine.inference.families import Instance, families, instance, pattern_of
from mapengine.inference.files import Address
from mapengine.inference.matching import Group
from mapengine.inference.names import likeness
from mapengine.inference.sample import Sample
from mapengine.inference.solving import Solved
from mapengine.inference.steps import Op
from mapengine.specs import DTYPES

_TRIED = 8
_NEAR = 0.02


def siblings(
    solved: Iterable[Solved], left: set[Address], free: set[Address]
) -> Iterator[tuple[Group, Solved]]:
    """The biases of weights that are explained, where they are not: they go the same way."""
    for one in solved:
        sources = [_sibling(a) for f in one.instance.sources for a in f.members()]
        targets = [_sibling(a) for f in one.instance.targets for a in f.members()]
        ours = [a for a in sources if a in free]
        theirs = [a for a in targets if a in left]
        if ours and len(ours) == len(sources) and len(theirs) == len(targets):
            yield Group(tuple(ours), tuple(theirs)), one


def _sibling(address: Address) -> Address | None:
    module, dot, last = address.key.rpartition(".")
    return Address(f"{module}{dot}bias", address.rank) if last == "weight" else None


def likewise(group: Group, weight: Solved) -> Solved | None:
    """The same ops for biases all of whose elements are one, which any op would make."""
    ops = []
    for op in weight.ops:
        left, right = op.axes
        if op.dim or op.order or (left and (left[-1] != right[-1] or len(left) < 2)):
            return None
        ops.append(replace(op, axes=(left[:-1], right[:-1])))
    one = instance(group)
    order = [family.pattern.words for family in weight.instance.targets]
    if one is None or len(one.targets) != len(order):
        return None
    return Solved(one, tuple(ops))


def scaled(
    source: Sample, target: Sample, left: Sequence[Address], free: Sequence[Address]
) -> list[Solved]:
    """Targets that are a source tensor times a number, or with a number added."""
    found, taken = [], set[Address]()
    for address in left:
        spec = target.spec(address)
        if not DTYPES[spec.dtype].floating or target.constant(address):
            continue
        alike = [
            a for a in free
            if a not in taken and source.spec(a) == spec and a.rank <= 0
        ]  # fmt: skip
        numbers = pattern_of(address)[1]
        alike.sort(
            key=lambda a: (
                pattern_of(a)[1][: len(numbers)] != numbers,
                -likeness(a.key, address.key),
            )
        )
        for other in alike[:_TRIED]:
            op = _number(source, other, target, address)
            ours, theirs = families([other]), families([address])
            if op and ours and theirs:
                taken.add(other)
                source.replicated.update({other.key} if len(source.ranks[other.key]) > 1 else ())
                same = [Op("same", "rank")] if other.key in source.replicated else []
                found.append(Solved(Instance(ours, theirs), (*same, op)))
                break
    return found


def _number(source: Sample, ours: Address, target: Sample, theirs: Address) -> Op | None:
    """The op that makes one of the other, with a number that has few digits, bit for bit."""
    import torch

    from mapengine.ops.arithmetic import Add, Mul

    dtype = source.spec(ours).dtype
    if len({source.digest(part) for part in source.ranks[ours.key]}) > 1:
        return None
    signed = [
        s.bits(a).view(f"i{DTYPES[dtype].size}") for s, a in ((source, ours), (target, theirs))
    ]
    one, other = (torch.from_numpy(bits.copy()).view(getattr(torch, dtype)) for bits in signed)
    a, b = (t.to(torch.float64).reshape(-1).numpy() for t in (one, other))
    for name, kind, guess in (("mul", Mul, _ratio(a, b)), ("add", Add, float(np.median(b - a)))):
        for digits in (1, 2, 3, 6):
            number = float(f"{guess:.{digits}g}") if math.isfinite(guess) else 0.0
            if number in (0.0, 1.0 if name == "mul" else 0.0):
                continue
            (made,) = kind(number).apply([one])
            if isinstance(made, torch.Tensor) and torch.equal(made, other):
                return Op(name, word=f"{number:g}")
    return None


def _ratio(a: np.ndarray, b: np.ndarray) -> float:
    there = np.abs(a) > _NEAR * np.abs(a).max()
    return float(np.median(b[there] / a[there])) if there.any() else math.nan


def constants(target: Sample, left: Sequence[Address]) -> Iterator[tuple[Address, str]]:
    """Target tensors that the mapping can say by itself, each with its value as it is written."""
    import torch

    for address in left:
        spec = target.spec(address)
        bits = target.bits(address)
        signed = bits.view(f"i{bits.dtype.itemsize}").copy()
        values = torch.from_numpy(signed).view(getattr(torch, spec.dtype))
        if target.constant(address) and spec.numel:
            number = values.reshape(-1)[0].item()
            if number == number and not isinstance(number, complex):
                words = {"0": "zeros", "1": "ones"}
                yield address, words.get(f"{number:g}", f"{number:g}")
        elif values.ndim >= 2 and torch.equal(values, torch.ones_like(values).tril()):
            yield address, "tril"
        elif torch.equal(values.reshape(-1), torch.arange(spec.numel).to(values.dtype)):
            yield address, "arange"
