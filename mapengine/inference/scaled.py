"""Targets that are a source tensor with a number in it, or the mean of its replicas over ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mapengine.inference.families import Family, Instance, families, pattern_of
from mapengine.inference.files import Address
from mapengine.inference.fingerprints import Array
from mapengine.inference.names import likeness
from mapengine.inference.sample import Sample, typed
from mapengine.inference.solving import Solved
from mapengine.inference.steps import Op
from mapengine.specs import DTYPES

if TYPE_CHECKING:
    import torch

_TRIED = 8
_NEAR = 0.02


@dataclass(frozen=True, slots=True)
class _Base:
    """One tensor of a key, whatever its ranks: they are the same, or a mean is taken."""

    address: Address
    family: Family
    ops: tuple[Op, ...]
    tensor: torch.Tensor


def scaled(
    source: Sample, target: Sample, left: Sequence[Address], free: Sequence[Address]
) -> Iterator[Solved]:
    """Means by their bits. Of others a few are tried with a factor and a summand: no hash tells."""
    bases = [base for address in free for base in _bases(source, address)]
    dtypes = sorted({target.spec(address).dtype for address in left})
    means = {_bits(cast.tensor): cast for base in bases for cast in _cast(base, dtypes)}
    taken = set[str]()
    for address in left:
        spec = target.spec(address)
        theirs = families([address])
        if theirs is None or not DTYPES[spec.dtype].floating or target.constant(address):
            continue
        wanted = typed(target, address)
        base = means.get(_bits(wanted))
        ops: tuple[Op, ...] = ()
        if base is None:
            base, ops = _numbered(bases, wanted, address, taken)
        if base is not None and base.address.key not in taken:
            taken.add(base.address.key)
            yield Solved(Instance((base.family,), theirs), (*base.ops, *ops))


def _bases(source: Sample, address: Address) -> Iterator[_Base]:
    from mapengine.ops.mean import Mean
    from mapengine.ops.op import Fan

    parts = source.ranks[address.key]
    if address != parts[0] or not DTYPES[source.spec(address).dtype].floating:
        return
    whole = families(parts)
    if whole is None or len({source.spec(part) for part in parts}) > 1:
        return
    first = typed(source, address)
    if len({source.digest(part) for part in parts}) == 1:
        same = (Op("same", "rank"),) if len(parts) > 1 else ()
        yield _Base(address, whole[0], same, first)
        return
    for wide in (None, "float32"):
        op = Mean(Fan("rank", len(parts)), wide)
        (mean,) = op.apply([typed(source, part) for part in parts])
        yield _Base(address, whole[0], (Op("mean", "rank", word=wide or ""),), _torch(mean))


def _cast(base: _Base, dtypes: Sequence[str]) -> Iterator[_Base]:
    """A mean, as it is and in the other dtypes that are wanted."""
    import torch

    if not any(op.name == "mean" for op in base.ops):
        return
    yield base
    own = str(base.tensor.dtype).removeprefix("torch.")
    for dtype in (one for one in dtypes if DTYPES[one].floating and one != own):
        tensor = base.tensor.to(getattr(torch, dtype))
        yield replace(base, ops=(*base.ops, Op("cast", word=dtype)), tensor=tensor)


def _torch(made: Any) -> torch.Tensor:
    tensor: torch.Tensor = made
    return tensor


def _bits(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    import torch
    import xxhash

    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return str(tensor.dtype), tuple(tensor.shape), xxhash.xxh3_128_digest(raw.tobytes())


def _numbered(
    bases: Sequence[_Base], wanted: torch.Tensor, address: Address, taken: set[str]
) -> tuple[_Base | None, tuple[Op, ...]]:
    """The likest key whose tensor, times or plus a number of few digits, is the one wanted."""
    numbers = pattern_of(address)[1]

    def far(base: _Base) -> tuple[bool, float]:
        own = pattern_of(base.address)[1][: len(numbers)]
        return own != numbers, -likeness(base.address.key, address.key)

    alike = [
        base
        for base in bases
        if base.address.key not in taken
        and base.tensor.shape == wanted.shape
        and base.tensor.dtype == wanted.dtype
    ]
    for base in sorted(alike, key=far)[:_TRIED]:
        if op := _number(base.tensor, wanted):
            return base, (op,)
    return None, ()


def _number(one: torch.Tensor, other: torch.Tensor) -> Op | None:
    """The op that makes one of the other, bit for bit."""
    import torch

    from mapengine.errors import OpError
    from mapengine.ops.arithmetic import Add, Mul

    a, b = (t.to(torch.float64).reshape(-1).numpy() for t in (one, other))
    for name, kind, guess in (("mul", Mul, _ratio(a, b)), ("add", Add, float(np.median(b - a)))):
        for digits in (1, 2, 3, 6):
            number = float(f"{guess:.{digits}g}") if math.isfinite(guess) else 0.0
            if number in (0.0, 1.0 if name == "mul" else 0.0):
                continue
            try:
                (made,) = kind(number).apply([one])
            except OpError:
                continue
            if torch.equal(_torch(made), other):
                return Op(name, word=f"{number:g}")
    return None


def _ratio(a: Array, b: Array) -> float:
    there = np.abs(a) > _NEAR * np.abs(a).max(initial=0.0)
    return float(np.median(b[there] / a[there])) if there.any() else math.nan
