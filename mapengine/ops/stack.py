"""`stack` and `unstack`: several tensors as one with a new axis, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.op import Fan, Op, argument, axis, one, same_shapes
from mapengine.ops.shown import Shown
from mapengine.ops.split import LIST
from mapengine.ops.tensor import Tensor, join


@dataclass(frozen=True)
class Stack(Op):
    """Lay tensors of one shape behind one another along a new axis `dim`."""

    shapes: ClassVar[str] = "one more axis at `dim`, as long as there are tensors"
    over: Fan = argument(
        "fan", "The index whose members are stacked; without it, the rule's list of sources.",
        "expert", LIST,
    )  # fmt: skip
    dim: int = argument("integer", "Where the new axis stands in the result.", 0, 0)

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        dim = axis(self.dim, tensors[0], extra=1)
        same_shapes(tensors)
        shape = (*tensors[0].shape[:dim], 1, *tensors[0].shape[dim:])
        return [join([t.reshape(shape) for t in tensors], dim)]

    def inverse(self) -> Unstack:
        return Unstack(self.over, self.dim)

    @property
    def uses(self) -> Fan:
        return self.over

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("expert", 3)), [(2, 4)] * 3
        yield cls(Fan(None, 2), -1), [(2, 4)] * 2
        yield cls(Fan("expert", 2)), [()] * 2

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "experts.{expert}.bias -> experts.bias",
            "stack: {over: expert}",
            {"experts.0.bias": [1, 2, 3], "experts.1.bias": [4, 5, 6]},
            {"experts.bias": [[1, 2, 3], [4, 5, 6]]},
            dims={"expert": 2},
        )


@dataclass(frozen=True)
class Unstack(Op):
    """Take one tensor apart along axis `dim`, which goes away."""

    shapes: ClassVar[str] = "without the axis `dim`"
    into: Fan = argument(
        "fan", "The index whose members the slices become; without it, the rule's list of targets.",
        "expert", LIST,
    )  # fmt: skip
    dim: int = argument("integer", "The axis that is taken apart.", 0, 0)

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        dim = axis(self.dim, tensor)
        if tensor.shape[dim] != self.into.size:
            raise OpError(f"axis {dim} has {tensor.shape[dim]} positions, not {self.into.size}")
        shape = (*tensor.shape[:dim], *tensor.shape[dim + 1 :])
        return [tensor.narrow(dim, i, 1).reshape(shape) for i in range(self.into.size)]

    def inverse(self) -> Stack:
        return Stack(self.into, self.dim)

    @property
    def makes(self) -> Fan:
        return self.into

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("expert", 3)), [(3, 2, 4)]
        yield cls(Fan(None, 4), 2), [(3, 2, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "experts.bias -> experts.{expert}.bias",
            "unstack: {into: expert, dim: 1}",
            {"experts.bias": [[1, 2], [3, 4], [5, 6]]},
            {"experts.0.bias": [1, 3, 5], "experts.1.bias": [2, 4, 6]},
            dims={"expert": 2},
        )
