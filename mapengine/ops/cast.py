"""`cast`: the elements in another dtype, with a watch on what does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mapengine.errors import OpError
from mapengine.ops.elementwise import Elementwise
from mapengine.ops.op import Exactness, Op, argument
from mapengine.specs import DTYPES

if TYPE_CHECKING:
    import torch

_WIDER = {
    "bool": {"uint8", "int8"},
    "uint8": {"uint16", "int16", "float16", "bfloat16"},
    "int8": {"int16", "float16", "bfloat16"},
    "uint16": {"uint32", "int32", "float32"},
    "int16": {"int32", "float32"},
    "uint32": {"uint64", "int64", "float64"},
    "int32": {"int64", "float64"},
    "float8_e4m3fn": {"float16", "bfloat16"},
    "float8_e5m2": {"float16", "bfloat16"},
    "float16": {"float32"},
    "bfloat16": {"float32"},
    "float32": {"float64"},
}


def widens(narrow: str, wide: str) -> bool:
    """Whether every value of one dtype is a value of the other."""
    return wide == narrow or any(widens(step, wide) for step in _WIDER.get(narrow, ()))


@dataclass(frozen=True)
class Cast(Elementwise):
    """Convert every element to another dtype, rounding to nearest even as torch does."""

    positional: ClassVar[str] = "to"
    to: str = argument("dtype", "The dtype written.", "bfloat16")
    from_: str | None = argument("dtype", "The dtype on the way back.", "float32", None)
    overflow: str = argument(
        "error|saturate|allow", "What to do with values beyond the range of `to`.", "error", "error"
    )

    def result(self, dtype: str) -> str:
        if dtype.startswith("complex") != self.to.startswith("complex"):
            raise OpError(f"{dtype} cannot become {self.to}: a part of every number would be lost")
        return self.to

    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        import torch

        target = getattr(torch, self.to)
        if self.overflow == "saturate" and target.is_floating_point:
            limit = torch.finfo(target).max
            return tensor.clamp(-limit, limit).to(target)
        result = tensor.to(target)
        if self.overflow == "error" and not widens(str(tensor.dtype)[6:], self.to):
            self._refuse_lost(tensor, result)
        return result

    def _refuse_lost(self, tensor: torch.Tensor, result: torch.Tensor) -> None:
        import torch

        if not result.dtype.is_floating_point:
            lost = result.to(tensor.dtype) != tensor
        elif result.element_size() == 1:  # torch saturates here, and makes no infinity of it
            lost = torch.isfinite(tensor) & (tensor.abs() > torch.finfo(result.dtype).max)
        else:
            lost = torch.isfinite(tensor) & ~torch.isfinite(result)
        count = int(lost.sum())
        if count:
            worst = tensor[lost].to(torch.float64).abs().max().item()
            raise OpError(
                f"{count} of {tensor.numel()} values do not fit {self.to}, up to {worst:g}",
                code="ME305",
                help="`overflow: saturate` or `overflow: allow` says that this is meant",
            )

    def inverse(self) -> Cast:
        if self.from_ is None:
            raise OpError(
                "a cast without `from` is one-way", help=f"write {{to: {self.to}, from: …}}"
            )
        return Cast(self.from_, self.to, self.overflow)

    def exactness(self, dtype: str) -> Exactness:
        if dtype == self.to:
            return Exactness.EXACT
        if self.from_ is None:
            return Exactness.ONE_WAY
        return Exactness.WIDENING if widens(dtype, self.to) else Exactness.LOSSY

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls("float64", "float32"), [(3, 4)]
        yield cls("float32", "float32"), [(3,)]


assert all(name in DTYPES for name in _WIDER)
