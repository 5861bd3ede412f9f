"""Chains of ops at random, and what plain torch makes of the same tensors.

Nothing of the engine is used: what an op does is said here a second time, in torch's own words.
Elements are moved as integers of their size, which torch can do with every dtype.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

BITS, FINITE, NUMBERS = "bits", "finite", "numbers"
"""What tensors hold: any bits; any number; whole numbers from 1 to 32, which every cast keeps."""

_DTYPES = {
    BITS: (
        "bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2", "int16", "uint16", "float16",
        "bfloat16", "int32", "uint32", "float32", "complex64", "float64", "int64", "uint64",
    ),
    FINITE: ("bool", "uint8", "int8", "int16", "float8_e5m2", "float16", "bfloat16", "float32"),
    NUMBERS: ("float16", "bfloat16", "float32", "float64"),
}  # fmt: skip
RAW = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_WIDER = {
    "bool": ["uint8"], "uint8": ["int16", "int32", "bfloat16"], "int8": ["int16", "float32"],
    "int16": ["int64", "float32"], "float8_e5m2": ["float16", "float32"],
    "float16": ["float32", "float64"], "bfloat16": ["float32", "float64"], "float32": ["float64"],
}  # fmt: skip


def noise(chance: random.Random, kind: str, dtype: str, shape: Sequence[int]) -> Tensor:
    """Random values of a kind, as integers of their elements' size."""
    kept, count = getattr(torch, dtype), math.prod(shape)
    if not count:
        return torch.empty(tuple(shape), dtype=RAW[kept.itemsize])
    if kind == NUMBERS:
        numbers = torch.frombuffer(bytearray(chance.randbytes(count)), dtype=torch.uint8)
        return raw((numbers % 32 + 1).to(kept)).reshape(tuple(shape))
    values = torch.frombuffer(bytearray(chance.randbytes(count * kept.itemsize)), dtype=kept)
    if dtype == "bool":
        values = values.view(torch.uint8) & 1
    elif kind == FINITE and kept.is_floating_point:
        values = torch.where(values.float().isfinite(), values.float(), 1.0).to(kept)
    return raw(values).reshape(tuple(shape))


def raw(tensor: Tensor) -> Tensor:
    """A tensor's bits, as integers."""
    return tensor.view(RAW[tensor.dtype.itemsize])


def dtype_at_random(chance: random.Random, kind: str) -> str:
    return chance.choice(_DTYPES[kind])


@dataclass
class Spelling:
    """Config names for sizes; a size is written as a number, a name, or what comes to it."""

    chance: random.Random
    sizes: Mapping[str, int]

    def __call__(self, size: int) -> int | str:
        equal = [name for name, value in self.sizes.items() if value == size]
        divides = [name for name, value in self.sizes.items() if value and size % value == 0]
        match self.chance.randrange(4):
            case 0 if equal:
                return self.chance.choice(equal)
            case 1 if divides and size:
                name = self.chance.choice(divides)
                return f"{name} * {size // self.sizes[name]}"
            case 2 if self.sizes:
                name, value = self.chance.choice([*self.sizes.items()])
                return f"{name} + {size - value}" if size >= value else f"{name} - {value - size}"
        return size


@dataclass
class Work:
    """Tensors under way through the ops of one rule: of each loop index a list of them."""

    chance: random.Random
    spell: Spelling
    kind: str
    dtype: str
    groups: list[list[Tensor]]
    ops: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.dtype

    @property
    def shape(self) -> list[int]:
        return list(self.groups[0][0].shape)

    def each(self, op: Any, call: Callable[[Tensor], Tensor]) -> None:
        self.groups = [[call(one) for one in group] for group in self.groups]
        self.ops.append(op)

    def all(self, op: Any, call: Callable[[list[Tensor]], Iterable[Tensor]]) -> None:
        self.groups = [list(call(group)) for group in self.groups]
        self.ops.append(op)

    def values(self, op: Any, call: Callable[[Tensor], Tensor], dtype: str) -> None:
        """An op on values, which makes those of a dtype."""
        here, self.dtype = getattr(torch, self.dtype), dtype
        self.each(op, lambda one: raw(call(one.view(here)).to(getattr(torch, dtype))))

    def some(self, most: int) -> None:
        """A few ops on each tensor by itself, if they are of one shape."""
        if len({one.shape for one in self.groups[0]}) > 1:
            return
        for _ in range(self.chance.randint(0, most)):
            self.chance.choice(ONE_BY_ONE)(self)


# -- ops on each tensor by itself; one that does not fit the tensors at hand does nothing ---------


def transpose(work: Work) -> None:
    if len(work.shape) >= 2:
        dims = work.chance.sample(range(len(work.shape)), 2)
        work.each({"transpose": dims}, lambda one: one.transpose(*dims))


def permute(work: Work) -> None:
    if len(work.shape) >= 2:
        order = work.chance.sample(range(len(work.shape)), len(work.shape))
        work.each({"permute": order}, lambda one: one.permute(order))


def rearrange(work: Work) -> None:
    """Every axis may come apart in two, one of them a number or a name; all are then moved."""
    chance, names, sizes, brackets = work.chance, iter("abcdefgh"), dict[str, int](), []
    for size in work.shape:
        known = [n for n, v in work.spell.sizes.items() if v and size % v == 0 and n not in sizes]
        factor = chance.choice([f for f in range(1, min(size, 7) + 1) if size % f == 0] or [0])
        word = chance.choice([*known, str(factor)])
        inner = {word: work.spell.sizes.get(word, factor)}
        if inner[word] < 2 or word in sizes or not chance.randrange(3):
            inner = {}
        inner[next(names)] = size // math.prod(inner.values())
        brackets.append(chance.sample([*inner], len(inner)))
        sizes |= inner
    after = [[name] for name in chance.sample([*sizes], len(sizes))]
    for i in reversed(range(len(after) - 1)):  # a bracket has at most one axis without a size
        joined = after[i] + after[i + 1]
        if sum(name in "abcdefgh" for name in joined) <= 1 and chance.randrange(2):
            after[i : i + 2] = [joined]
    sides = (" ".join(_bracket(names) for names in side) for side in (brackets, after))
    apart = [name for bracket in brackets for name in bracket]
    order = [apart.index(name) for bracket in after for name in bracket]
    shape = [math.prod(sizes[name] for name in bracket) for bracket in after]
    work.each(
        {"rearrange": " -> ".join(sides)},
        lambda one: one.reshape([sizes[n] for n in apart]).permute(order).reshape(shape),
    )


def _bracket(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({' '.join(names)})"


def rope(work: Work) -> None:
    fits = [h for h in range(1, 5) if work.shape and work.shape[0] and work.shape[0] % (2 * h) == 0]
    if not fits:
        return
    heads = work.chance.choice(fits)
    rows = work.shape[0] // heads
    turned = work.chance.choice([rows, 2 * work.chance.randint(1, rows // 2)])
    name = work.chance.choice(["rope_permute", "rope_unpermute"])
    arguments: dict[str, Any] = {"heads": work.spell(heads)}
    if turned != rows or work.chance.randrange(2):
        arguments["rotary_dim"] = work.spell(turned)
    of_head = [*range(0, turned, 2), *range(1, turned, 2), *range(turned, rows)]
    if name == "rope_unpermute":
        of_head = [of_head.index(row) for row in range(rows)]
    order = [head * rows + row for head in range(heads) for row in of_head]
    work.each({name: arguments}, lambda one: one[order])


def cast(work: Work) -> None:
    here = work.dtype
    others = _WIDER.get(here, []) if work.kind == FINITE else []
    others = [one for one in _DTYPES[NUMBERS] if one != here] if work.kind == NUMBERS else others
    if others:
        there = work.chance.choice(others)
        work.values({"cast": {"to": there, "from": here}}, lambda one: one, there)


def arithmetic(work: Work) -> None:
    """A number added or multiplied in, once: so nothing is rounded, there or back."""
    name = work.chance.choice(["add", "mul"])
    if work.kind == NUMBERS and not any(name in op for op in work.ops if isinstance(op, dict)):
        number = work.chance.choice([1, 2, 3.0] if name == "add" else [0.5, 2, -1, 0.25])
        if name == "add":
            work.values({"add": number}, lambda one: one + number, work.dtype)
        else:
            work.values({"mul": number}, lambda one: one * number, work.dtype)


def pad(work: Work) -> None:
    if not work.shape:
        return
    dim, more = work.chance.randrange(len(work.shape)), work.chance.randint(0, 3)
    size = work.shape[dim]
    sizes = {"from": work.spell(size), "to": work.spell(size + more), "dim": dim}

    def grown(one: Tensor) -> Tensor:
        shape = [*one.shape]
        shape[dim] = more
        return torch.cat([one, torch.zeros(shape, dtype=one.dtype)], dim)

    work.each({"pad": sizes}, grown)


ONE_BY_ONE = [transpose, permute, rearrange, rearrange, rope, rope, cast, arithmetic, pad]
