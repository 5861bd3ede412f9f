"""Rules at random, with the tensors they take and what must come of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor

from reliability.random_flows import FLOW_OPS, FLOWS, Fan, Range
from reliability.random_ops import BITS, FINITE, NUMBERS, Spelling, Work, dtype_at_random, noise

Indices = Mapping[str, int | str]
_STEMS = ["w", "attn.q", "mlp/up", "norm-", "bias_", "é", "Emb"]


def filled(pattern: str, indices: Indices) -> str:
    """A key of a pattern whose braces hold an index, or an index plus a number."""

    def value(found: re.Match[str]) -> str:
        index = indices[found[1]]
        return str(int(index) + int(found[2]) if found[2] else index)

    return re.sub(r"\{(\w+)(?: \+ (\d+))?\}", value, pattern)


@dataclass
class Scope:
    """Where rules stand: what goes before their keys, and the indices they loop over."""

    source: str = ""
    target: str = ""
    loops: dict[str, Range] = field(default_factory=dict)


@dataclass
class Rules:
    """Makes rules; collects the tensors of the source by key and rank, and of the target by key."""

    chance: random.Random
    spell: Spelling
    dims: dict[str, Range]
    ranks: int | None = None
    most: int = 7
    source: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    target: dict[str, Tensor] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    made: int = 0

    def rule(self, scope: Scope, plain: bool = False) -> Any:
        """A rule in a scope; a `plain` one holds for every index of it."""
        chance = self.chance
        flow = "one" if plain else chance.choice(FLOWS)
        loops, body = dict(scope.loops), dict[str, Any]()
        name = f"{chance.choice(_STEMS)}{self.made}"
        self.made += 1
        key = name + "".join(f".{{{index}}}" for index in self._own(loops))
        if not plain and scope.loops and chance.random() < 0.2:
            body |= self._condition(scope, loops)
        left, right = self._fans(flow)
        work, sources = self._work(flow, left, loops)
        FLOW_OPS[flow](work, left, right)
        lefts, rights = self._keys(key, left), self._keys(f"new.{key}", right)
        if chance.random() < 0.1 and not left and not right:
            rights = lefts  # the name is kept, where the scope keeps it too
        self._keep(scope, loops, (lefts, left, sources), (rights, right, work))
        return self._written(lefts, rights, work, sources, body)

    def constant(self, scope: Scope) -> Any:
        """A tensor that no source has."""
        value, dtype = self.chance.choice(
            [("zeros", "float32"), ("ones", "bfloat16"), ("arange", "int64"), (2.5, "float16")]
        )
        shape = self._shape()
        key = f"fixed{self.made}"
        self.made += 1
        known = {"zeros": 0, "ones": 1, "arange": 0}.get(str(value), value)
        made = torch.full(shape, known, dtype=getattr(torch, dtype))
        if value == "arange":
            made = torch.arange(made.numel(), dtype=torch.int64).reshape(shape)
        for indices in _all(scope.loops):
            self.target[filled(scope.target + key, indices)] = made
        self.words.add("constant")
        return {f"-> {key}": {"value": value, "shape": self._said(shape), "dtype": dtype}}

    def _own(self, loops: dict[str, Range]) -> Iterator[str]:
        """Adds an index of the rule's own to its loops, now and then."""
        chance = self.chance
        if chance.random() < 0.25:
            index = chance.choice([one for one in self.dims if one in ("group", "slot")])
            self.used.add(index)
            loops[index] = self.dims[index]
            yield chance.choice([index, f"{index} + 2"]) if index == "group" else index

    def _condition(self, scope: Scope, loops: dict[str, Range]) -> dict[str, Any]:
        index = self.chance.choice([*scope.loops])
        size, limit = len(scope.loops[index]), self.chance.randint(0, len(scope.loops[index]))
        low = self.chance.random() < 0.5
        loops[index] = range(limit) if low else range(limit, size)
        self.words.add("when")
        return {"when": f"{index} {'<' if low else '>='} {limit}"}

    def _fans(self, flow: str) -> tuple[Fan | None, Fan | None]:
        left = self._fan(["expert", "w"]) if flow in ("in", "through", "same", "uneven") else None
        right = self._fan(["part", "u"]) if flow in ("out", "through", "copy", "parts") else None
        if flow == "uneven" and left:
            left = Fan(None, range(2))
        return left, right

    def _fan(self, indices: Sequence[str]) -> Fan:
        index = self.chance.choice([*indices, None])
        if index is None:
            return Fan(None, range(self.chance.randint(2, 3)))
        self.used.add(index)
        return Fan(index, self.dims[index])

    def _keys(self, key: str, fan: Fan | None) -> list[str]:
        if fan is None:
            return [key]
        if fan.index:
            return [f"{key}.{{{fan.index}}}.weight"]
        return [f"{key}.{'abc'[int(value)]}" for value in fan.values]

    def _shape(self) -> list[int]:
        chance = self.chance
        dims = [chance.choice([*self.spell.sizes.values(), *range(1, self.most + 1)])
                for _ in range(chance.choice([0, 1, 1, 2, 2, 2, 3, 4]))]  # fmt: skip
        if dims and chance.random() < 0.02:
            dims[-1] = 0
        return dims

    def _work(
        self, flow: str, left: Fan | None, loops: Mapping[str, Range]
    ) -> tuple[Work, list[list[Tensor]]]:
        """The tensors that a rule begins with, and a copy of them for the source."""
        chance, members = self.chance, len(left.values) if left else 1
        kind = chance.choice([BITS, FINITE, NUMBERS])
        dtype, shape = dtype_at_random(chance, kind), self._shape()
        if flow in ("out", "through", "parts", "uneven"):
            shape = [chance.choice([2, 3, 4, 6, 12]), *shape[:2]]
        groups = []
        for _ in _all(loops):
            shapes = [[*shape] for _ in range(members)]
            if flow == "uneven":
                shapes[-1][0] += 1
            group = [noise(chance, kind, dtype, one) for one in shapes]
            groups.append([group[0]] * members if flow == "same" else group)
        if not groups:  # a condition that never holds
            groups = [[noise(chance, kind, dtype, shape) for _ in range(members)]]
        if flow == "one" and shape and shape[0] and chance.random() < 0.15:
            return self._unpadded(kind, dtype, groups)
        sources = [[*group] for group in groups]
        return Work(chance, self.spell, kind, dtype, groups), sources

    def _unpadded(
        self, kind: str, dtype: str, groups: list[list[Tensor]]
    ) -> tuple[Work, list[list[Tensor]]]:
        """What ends in zeros, which are cut off first."""
        rows = groups[0][0].shape[0]
        kept = self.chance.randint(0, rows)
        sources = [[one.clone() for one in group] for group in groups]
        for one in (one for group in sources for one in group):
            one[kept:] = 0
        work = Work(self.chance, self.spell, kind, dtype, [[*group] for group in sources])
        work.each(
            {"unpad": {"from": self.spell(rows), "to": self.spell(kept)}}, lambda one: one[:kept]
        )
        return work, sources

    def _keep(self, scope: Scope, loops: Mapping[str, Range], left: Any, right: Any) -> None:
        """Puts what a rule takes and makes under its keys."""
        (lefts, fan, sources), (rights, made, work) = left, right
        before, cut = getattr(torch, work.began), self._is_cut(sources)
        for i, indices in enumerate(_all(loops)):
            for key, one in zip(_members(lefts, fan, indices), sources[i], strict=True):
                for rank, piece in enumerate(self._pieces(one, cut)):
                    self.source[filled(scope.source + key[0], key[1]), rank] = piece.view(before)
            after = getattr(torch, work.dtype)
            for key, one in zip(_members(rights, made, indices), work.groups[i], strict=True):
                self.target[filled(scope.target + key[0], key[1])] = one.view(after)

    def _pieces(self, one: Tensor, cut: bool) -> Sequence[Tensor]:
        """A tensor as the ranks hold it: a part of its rows each, or all of it."""
        if self.ranks is None:
            return [one]
        return one.chunk(self.ranks) if cut else [one] * self.ranks

    def _is_cut(self, sources: list[list[Tensor]]) -> bool:
        rows = [one.shape[0] if one.ndim else 0 for one in sources[0]]
        return self.ranks is not None and all(size and size % self.ranks == 0 for size in rows)

    def _written(
        self, lefts: list[str], rights: list[str], work: Work, sources: list[list[Tensor]],
        body: dict[str, Any],
    ) -> Any:  # fmt: skip
        ops, shapes = list(work.ops), [list(one.shape) for one in sources[0]]
        if self.ranks is not None:
            cut = self._is_cut(sources)
            ops.insert(
                0, {"concat": {"over": "rank", "dim": 0}} if cut else {"same": {"over": "rank"}}
            )
            if cut:
                shapes = [[shape[0] // self.ranks, *shape[1:]] for shape in shapes]
        self.words |= {op if isinstance(op, str) else next(iter(op)) for op in ops}
        if self.chance.random() < 0.7:
            uneven = len({*map(tuple, shapes)}) > 1
            body["shape"] = [*map(self._said, shapes)] if uneven else self._said(shapes[0])
        if self.chance.random() < 0.3:
            body["dtype"] = work.began
        if ops:
            body["ops"] = ops
        name = ", ".join(lefts)
        key = name if lefts == rights else f"{name} -> {', '.join(rights)}"
        return {key: body} if body else key

    def _said(self, shape: Sequence[int]) -> list[Any]:
        return [self.spell(size) for size in shape]


def _all(ranges: Mapping[str, Range]) -> Iterator[dict[str, int | str]]:
    """Every choice of an index from each range."""
    for values in product(*ranges.values()):
        yield dict(zip(ranges, values, strict=True))


def _members(
    keys: list[str], fan: Fan | None, indices: Indices
) -> Iterator[tuple[str, dict[str, int | str]]]:
    for key in keys:
        for value in fan.values if fan and fan.index else [None]:
            inner = {fan.index: value} if fan and fan.index and value is not None else {}
            yield key, {**indices, **inner}
