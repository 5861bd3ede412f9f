"""`permute` and `transpose`: the axes in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.op import Op, argument, axis, one
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor


@dataclass(frozen=True)
class Permute(Op):
    """Put all axes in another order, as `torch.permute` does: axis i of the result was dims[i]."""

    positional: ClassVar[str] = "dims"
    shapes: ClassVar[str] = "its sizes in the order of `dims`"
    dims: tuple[int, ...] = argument("integers", "Every axis once, in its new order.", [2, 0, 1])

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        if sorted(self.dims) != list(range(tensor.ndim)):
            raise OpError(
                f"{list(self.dims)} is not every axis of {list(tensor.shape)} once",
                help=f"write a permutation of {list(range(tensor.ndim))}",
            )
        return [tensor.permute(self.dims)]

    def inverse(self) -> Permute:
        return Permute(tuple(self.dims.index(i) for i in range(len(self.dims))))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls((2, 0, 1)), [(2, 3, 4)]
        yield cls((1, 0)), [(0, 3)]
        yield cls(()), [()]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "conv.weight -> conv.weight",
            "permute: [2, 0, 1]",
            {"conv.weight": [[[1, 2], [3, 4], [5, 6]]]},
            {"conv.weight": [[[1, 3, 5]], [[2, 4, 6]]]},
        )


@dataclass(frozen=True)
class Transpose(Op):
    """Swap two axes. It is its own inverse."""

    positional: ClassVar[str] = "dims"
    shapes: ClassVar[str] = "those two sizes change places"
    dims: tuple[int, ...] = argument("integers", "The two axes.", [0, 1])

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        if len(self.dims) != 2:
            raise OpError(f"takes two axes, not {list(self.dims)}", help="for more, write permute")
        a, b = (axis(dim, tensor) for dim in self.dims)
        order = list(range(tensor.ndim))
        order[a], order[b] = b, a
        return [tensor.permute(order)]

    def inverse(self) -> Transpose:
        return self

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls((0, 1)), [(3, 5)]
        yield cls((-1, 0)), [(2, 3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "fc.weight -> fc.weight",
            "transpose: [0, 1]",
            {"fc.weight": [[1, 2, 3], [4, 5, 6]]},
            {"fc.weight": [[1, 4], [2, 5], [3, 6]]},
        )
