"""`unpad` and `pad`: zeros at the end of an axis, taken off and put on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.differing import count_differing
from mapengine.ops.op import Exactness, Op, argument, axis, one
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor, join, zeros

CUT = "that are cut are not zero"
UNCHECKED = "`unchecked: true` cuts them all the same"


def _axis_of(tensor: Tensor, dim: int, size: int) -> int:
    """The axis, which must have `size` positions."""
    dim = axis(dim, tensor)
    if tensor.shape[dim] != size:
        raise OpError(f"axis {dim} has {tensor.shape[dim]} positions, not {size}")
    return dim


@dataclass(frozen=True)
class Unpad(Op):
    """Keep the first positions of an axis, after checking that the others are all zero."""

    shapes: ClassVar[str] = "along `dim` it is `to`; the other axes stay"
    exactly: ClassVar[Mapping[Exactness, str]] = {
        Exactness.EXACT: "where what is cut is checked to be zero, or nothing is cut",
        Exactness.LOSSY: "where something is cut `unchecked`",
    }
    from_: int = argument("integer", "How many positions there are.", "rows")
    to: int = argument("integer", "How many are kept.", "vocab")
    dim: int = argument("integer", "The axis that is cut.", 0, 0)
    unchecked: bool = argument(
        "flag", "Cut whatever is there: on the way back there are zeros.", True, False
    )

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        dim = _axis_of(tensor, self.dim, self.from_)
        if not 0 <= self.to <= self.from_:
            raise OpError(f"{self.from_} positions are not cut to {self.to}")
        cut = self.cut(tensor)
        if cut is not None and not self.unchecked:
            lost = count_differing(cut, zeros(cut, cut.shape))
            if lost:
                message = f"{lost} of {math.prod(cut.shape)} elements {CUT}"
                raise OpError(message, "ME306", UNCHECKED)
        return [tensor.narrow(dim, 0, self.to)]

    def cut(self, tensor: Tensor) -> Tensor | None:
        """What is not kept, if there is anything."""
        left = self.from_ - self.to
        return tensor.narrow(axis(self.dim, tensor), self.to, left) if left else None

    def inverse(self) -> Pad:
        return Pad(self.to, self.from_, self.dim, self.unchecked)

    def exactness(self, dtype: str) -> Exactness:
        lossy = self.unchecked and self.from_ != self.to
        return Exactness.LOSSY if lossy else Exactness.EXACT

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(3, 3), [(3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "embed.weight -> embed.weight",
            "unpad: {from: rows, to: vocab}",
            {"embed.weight": [[1, 2], [3, 4], [0, 0], [0, 0]]},
            {"embed.weight": [[1, 2], [3, 4]]},
            sizes={"rows": 4, "vocab": 2},
        )


@dataclass(frozen=True)
class Pad(Op):
    """Put zeros behind the last position of an axis."""

    shapes: ClassVar[str] = "along `dim` it is `to`; the other axes stay"
    from_: int = argument("integer", "How many positions there are.", "vocab")
    to: int = argument("integer", "How many there are to be.", "rows")
    dim: int = argument("integer", "The axis that grows.", 0, 0)
    unchecked: bool = argument("flag", "On the way back, cut whatever is there.", True, False)

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        dim = _axis_of(tensor, self.dim, self.from_)
        if self.to < self.from_:
            raise OpError(f"{self.from_} positions are not padded to {self.to}")
        if self.to == self.from_:
            return [tensor]
        shape = (*tensor.shape[:dim], self.to - self.from_, *tensor.shape[dim + 1 :])
        return [join([tensor, zeros(tensor, shape)], dim)]

    def inverse(self) -> Unpad:
        return Unpad(self.to, self.from_, self.dim, self.unchecked)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(3, 5), [(3, 4)]
        yield cls(4, 6, -1), [(3, 4)]
        yield cls(3, 3), [(3,)]
        yield cls(0, 2, 1, True), [(3, 0)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "embed.weight -> embed.weight",
            "pad: {from: vocab, to: rows}",
            {"embed.weight": [[1, 2], [3, 4]]},
            {"embed.weight": [[1, 2], [3, 4], [0, 0]]},
            sizes={"rows": 3, "vocab": 2},
        )
