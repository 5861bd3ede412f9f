"""`rearrange`: axes named, split, joined and moved, in the notation of einops.

The syntax and its parser are einops' (https://einops.rocks). On top of it a number is an axis of
that size, an axis named as a config field has that field's value, and one more axis per bracket
may be new: it takes exactly what is left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.op import Axes, Op, argument, one
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor

Side = tuple[tuple[str, ...], ...]
"""The brackets of one side, each a tuple of axis names; a bare axis is a bracket of one."""

_NUMBER = re.compile(r"(?<![A-Za-z0-9_])([0-9]+)(?![A-Za-z0-9_])")
_LONGEST = 200


def parse_axes(pattern: str) -> tuple[Side, Side, dict[str, int]]:
    """Both sides of a pattern, and the sizes its numbers give. Raises `OpError`."""
    left, arrow, right = pattern.partition("->")
    if not arrow or "->" in right:
        raise OpError(f"{pattern!r} is not `axes -> axes`", code="ME304")
    if len(pattern) > _LONGEST or "..." in pattern or not pattern.isascii():
        raise OpError("every axis is named, in at most 200 characters", code="ME304")
    sizes: dict[str, int] = {}
    sides = _side(left, sizes), _side(right, sizes)
    names = [[name for bracket in side for name in bracket] for side in sides]
    if sorted(names[0]) != sorted(names[1]):
        odd = sorted(set(names[0]) ^ set(names[1]))
        raise OpError(
            f"the sides of {pattern!r} do not have the same axes"
            + (f": {', '.join(_written(n) for n in odd)} stands on one only" if odd else ""),
            code="ME304",
        )
    return (*sides, sizes)


@lru_cache(maxsize=256)
def axis_names(pattern: str) -> frozenset[str]:
    """The axes of a pattern that are words. Raises `OpError` where it cannot be parsed."""
    left, _, sizes = parse_axes(pattern)
    return frozenset(name for bracket in left for name in bracket if name not in sizes)


def _written(name: str) -> str:
    return name.split("x")[1] if name.startswith("numberx") else name


def _side(text: str, sizes: dict[str, int]) -> Side:
    """One side, its numbers named in order: the first 3 on the left is the first 3 on the right."""
    from einops import EinopsError
    from einops.parsing import ParsedExpression

    seen: dict[str, count[int]] = {}

    def named(match: re.Match[str]) -> str:
        digits = match[1]
        if int(digits) == 1:
            return "1"
        name = f"numberx{digits}x{next(seen.setdefault(digits, count()))}"
        sizes[name] = int(digits)
        return name

    try:
        parsed = ParsedExpression(_NUMBER.sub(named, text))
    except EinopsError as error:
        message = str(error).strip().replace("\n", "; ")
        raise OpError(f"{text.strip()!r}: {message}", code="ME304") from None
    return tuple(tuple(bracket) for bracket in parsed.composition)


@dataclass(frozen=True)
class Rearrange(Op):
    """Split, move and join axes by name: `(heads 3 head_dim) d -> (3 heads head_dim) d`."""

    positional: ClassVar[str] = "axes"
    shapes: ClassVar[str] = "what stands to the right of the arrow"
    axes: Axes = argument(
        "axes", "Axes before and after; brackets hold axes that are one in the tensor.",
        "(heads 3 head_dim) d -> (3 heads head_dim) d",
    )  # fmt: skip

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        left, right, sizes = parse_axes(self.axes.pattern)
        sizes = {**sizes, **dict(self.axes.sizes)}
        for name, size in self.axes.sizes:
            if size < 0:
                raise OpError(f"{name} is {size}: no size of an axis")
        if tensor.ndim != len(left):
            raise OpError(
                f"{self.axes.pattern!r} takes {len(left)} axes, the tensor is {list(tensor.shape)}"
            )
        for bracket, size in zip(left, tensor.shape, strict=True):
            _complete(bracket, size, sizes)
        before = [name for bracket in left for name in bracket]
        after = [name for bracket in right for name in bracket]
        apart = tensor.reshape(tuple(sizes[name] for name in before))
        moved = apart.permute([before.index(name) for name in after])
        return [moved.reshape(tuple(math.prod(sizes[n] for n in bracket) for bracket in right))]

    def inverse(self) -> Rearrange:
        left, _, right = self.axes.pattern.partition("->")
        return Rearrange(Axes(f"{right.strip()} -> {left.strip()}", self.axes.sizes))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Axes("(heads 3 x) d -> (3 heads x) d", (("heads", 2),))), [(12, 5)]
        yield cls(Axes("a b c -> c (b a)", (("a", 2),))), [(2, 3, 4)]
        yield cls(Axes("a (b 1) -> b 1 a", ())), [(2, 3)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "qkv.bias -> qkv.bias",
            'rearrange: "(heads 3 head_dim) -> (3 heads head_dim)"',
            {"qkv.bias": [11, 12, 21, 22, 31, 32, 41, 42, 51, 52, 61, 62]},
            {"qkv.bias": [11, 12, 41, 42, 21, 22, 51, 52, 31, 32, 61, 62]},
            sizes={"heads": 2},
        )
        yield Shown(
            "patch.weight -> patch.weight",
            'rearrange: "out (h w) -> out 1 h w"',
            {"patch.weight": [[1, 2, 3, 4, 5, 6]]},
            {"patch.weight": [[[[1, 2, 3], [4, 5, 6]]]]},
            sizes={"h": 2},
        )


def _complete(bracket: tuple[str, ...], size: int, sizes: dict[str, int]) -> None:
    """Adds to `sizes` the one axis of a bracket that has none: what the tensor leaves for it."""
    unknown = [name for name in bracket if name not in sizes]
    known = math.prod(sizes[name] for name in bracket if name in sizes)
    text = " ".join(map(_written, bracket))
    if len(unknown) > 1:
        raise OpError(
            f"({text}): more than one axis without a size: {', '.join(unknown)}",
            help="all but one must be numbers or names of config fields",
        )
    if unknown and known and size % known == 0:
        sizes[unknown[0]] = size // known
    elif unknown or known != size:
        raise OpError(f"({text}) makes {known}, the tensor has {size} there")
