"""`cast`: the elements in another dtype, with a watch on what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mapengine.errors import OpError
from mapengine.ops.elementwise import Elementwise
from mapengine.ops.op import Exactness, Op, argument
from mapengine.ops.shown import Shown
from mapengine.specs import DTYPES
from mapengine.views import ValueOp

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
    retypes: ClassVar[bool] = True
    dtypes: ClassVar[str] = "`to`"
    exactly: ClassVar[Mapping[Exactness, str]] = {
        Exactness.EXACT: "where the tensor has that dtype already",
        Exactness.WIDENING: "where every value of the tensor's dtype is one of `to`",
        Exactness.LOSSY: "where `to` has fewer values, and `from` names the way back",
        Exactness.ONE_WAY: "without `from`",
    }
    to: str = argument("dtype", "The dtype written.", "bfloat16")
    from_: str | None = argument("dtype", "The dtype on the way back.", "float32", None)
    overflow: str = argument(
        "error|saturate|allow", "What to do with values beyond the range of `to`.", "error", "error"
    )

    def result(self, dtype: str) -> str:
        if dtype.startswith("complex") != self.to.startswith("complex"):
            raise OpError(f"{dtype} cannot become {self.to}: a part of every number would be lost")
        if self.overflow == "saturate" and not DTYPES[self.to].floating:
            raise OpError(f"{self.to} cannot be saturated: only floating dtypes can")
        return self.to

    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        import torch

        target = getattr(torch, self.to)
        if widens(str(tensor.dtype)[6:], self.to):
            return tensor.to(target)
        if self.overflow == "saturate":
            limit = torch.finfo(target).max  # clamped as float32: 65504 is no bfloat16
            narrow = tensor.dtype.is_floating_point and tensor.element_size() <= 4
            wide = tensor.float() if narrow else tensor.double()
            return wide.clamp(-limit, limit).to(target)
        result = tensor.to(target)
        if self.overflow == "error":
            self._refuse_lost(tensor, result)
        return result

    def _refuse_lost(self, tensor: torch.Tensor, result: torch.Tensor) -> None:
        lost = lost_values(tensor, result)
        count = int(lost.sum())
        if not count:
            return
        values = tensor.double()[lost]
        wrong = f"do not fit {self.to}, up to {values.abs().max().item():g}"
        help = "`overflow: saturate` or `overflow: allow` says that this is meant"
        whole = self.to.startswith(("int", "uint"))
        if whole and bool((values.isfinite() & (values != values.trunc())).all()):
            wrong = f"are not whole numbers, as {self.to} has them, the first {values[0].item():g}"
            help = (
                f"`overflow: allow` cuts fractions off; a source that is {self.to} "
                f"already needs no cast, but `dtype: {self.to}` in its rule"
            )
        raise OpError(f"{count} of {tensor.numel()} values {wrong}", code="ME305", help=help)

    @property
    def gain(self) -> float:
        return 1.0

    def undoes(self, other: ValueOp, dtype: str) -> bool:
        return isinstance(other, Cast) and self.to == dtype and widens(dtype, other.to)

    def inverse(self) -> Cast:
        if self.from_ is None:
            raise OpError(
                "a cast without `from` is one-way", help=f"write {{to: {self.to}, from: …}}"
            )
        return Cast(self.from_, self.to, self.overflow)

    @classmethod
    def one_way(cls, arguments: Mapping[str, Any]) -> str | None:
        return None if "from_" in arguments else "`from:` names the way back"

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

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "norm.weight -> norm.weight",
            "cast: {to: float32, from: bfloat16}",
            {"norm.weight": [1.0, -0.5, 3.140625]},
            {"norm.weight": [1.0, -0.5, 3.140625]},
            was={"norm.weight": "bfloat16"},
        )
        yield Shown(
            "norm.weight -> norm.weight",
            "cast: {to: float8_e4m3fn, from: float32, overflow: saturate}",
            {"norm.weight": [1.0, 3.140625, 1000.0]},
            {"norm.weight": [1.0, 3.25, 448.0]},
            becomes={"norm.weight": "float8_e4m3fn"},
        )


def lost_values(tensor: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """Where a conversion did not merely round: beyond the range, the sign gone, not a number.

    An integer is lost in another one that it does not equal, a float in an integer likewise.
    """
    import torch

    if not result.dtype.is_floating_point:
        if not tensor.dtype.is_floating_point:
            return (result.to(tensor.dtype) != tensor) | (
                (result.double() < 0) != (tensor.double() < 0)
            )
        wide = tensor.double()
        bits = result.element_size() * 8
        low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1))
        if not result.dtype.is_signed:
            low, high = 0.0, 2.0 if result.dtype is torch.bool else 2.0**bits
        return ~((wide == wide.trunc()) & (wide >= low) & (wide < high))
    if result.element_size() > 1 and bool(torch.isfinite(result).all()):
        return torch.zeros_like(result, dtype=torch.bool)
    wide, kept = tensor.double(), result.double()
    lost = (wide.isfinite() != kept.isfinite()) | (wide.isnan() != kept.isnan())
    lost |= (wide.signbit() != kept.signbit()) & ~wide.isnan()
    if result.element_size() == 1:  # there some versions of torch saturate by themselves
        lost |= wide.isfinite() & (wide.abs() > torch.finfo(result.dtype).max)
    return lost


assert all(name in DTYPES for name in _WIDER)
