"""`add` and `mul`: a number added to, or multiplied into, every element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mapengine.errors import OpError
from mapengine.ops.cast import lost_values
from mapengine.ops.elementwise import Elementwise
from mapengine.ops.op import Exactness, Op, argument
from mapengine.ops.shown import Shown
from mapengine.specs import DTYPES

if TYPE_CHECKING:
    import torch

_SMALLEST = 2.0**-126
"""The smallest normal float32: what a tensor is multiplied in."""


def _floating(dtype: str) -> str:
    if not DTYPES[dtype].floating:
        raise OpError(f"takes floating tensors, not {dtype}")
    return dtype


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the precision that is computed in: float32, or float64 where it is that."""
    return tensor if tensor.element_size() == 8 else tensor.float()


def _rounded(wide: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """What was computed, in the tensor's own dtype. Raises `OpError` where it leaves its range."""
    result = wide.to(tensor.dtype)
    lost = lost_values(wide, result) | (tensor.double().isfinite() & ~wide.isfinite())
    count = int(lost.sum())
    if count:
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise OpError(f"{count} of {tensor.numel()} results do not fit {dtype}", code="ME305")
    return result


@dataclass(frozen=True)
class Add(Elementwise):
    """Add a number to every element, in float32, rounded back to the tensor's dtype."""

    positional: ClassVar[str] = "value"
    exactly: ClassVar[Mapping[Exactness, str]] = {
        Exactness.EXACT: "where 0 is added",
        Exactness.LOSSY: "otherwise: the sum is rounded, and so is the way back",
    }
    value: float = argument("number", "What is added.", 1)

    def result(self, dtype: str) -> str:
        return _floating(dtype)

    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        return _rounded(_wide(tensor) + self.value, tensor)

    @property
    def gain(self) -> float:
        return 1.0

    def inverse(self) -> Add:
        return Add(-self.value)

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.LOSSY if self.value else Exactness.EXACT

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(0.0), [(3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "norm.weight -> norm.weight",
            "add: 1",
            {"norm.weight": [0, -0.5, 0.25]},
            {"norm.weight": [1, 0.5, 1.25]},
        )


@dataclass(frozen=True)
class Mul(Elementwise):
    """Multiply every element by a number, in float32, rounded back to the tensor's dtype."""

    positional: ClassVar[str] = "value"
    exactly: ClassVar[Mapping[Exactness, str]] = {
        Exactness.EXACT: "where the factor is 1 or -1",
        Exactness.LOSSY: "otherwise: the product is rounded, and so is the way back",
    }
    value: float = argument("number", "The factor. Not zero.", 0.5)
    divide: bool = argument(
        "flag", "Divide instead: what undoes a factor to the last bit.", False, False
    )

    def __post_init__(self) -> None:
        if abs(self.value) < _SMALLEST:
            raise OpError(f"a factor of {self.value:g} is 0 in float32, and has no way back")

    def result(self, dtype: str) -> str:
        return _floating(dtype)

    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        wide = _wide(tensor)
        return _rounded(wide / self.value if self.divide else wide * self.value, tensor)

    @property
    def gain(self) -> float:
        return 1 / self.value if self.divide else self.value

    def inverse(self) -> Mul:
        return Mul(self.value, not self.divide)

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.EXACT if abs(self.value) == 1 else Exactness.LOSSY

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(2.0), [(3, 4)]
        yield cls(-1.0), [(3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "q.weight -> q.weight",
            "mul: head_dim ** -0.5",
            {"q.weight": [[8, -2], [1, 0]]},
            {"q.weight": [[4, -1], [0.5, 0]]},
            sizes={"head_dim": 4},
        )
        yield Shown(
            "q.weight -> q.weight",
            "mul: {value: 3, divide: true}",
            {"q.weight": [9, -1.5]},
            {"q.weight": [3, -0.5]},
        )
