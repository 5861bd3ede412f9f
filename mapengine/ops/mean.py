"""`mean`: replicas that have drifted apart, as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mapengine.errors import OpError
from mapengine.ops.cast import widens
from mapengine.ops.elementwise import Combining
from mapengine.ops.op import Exactness, Fan, Op, argument, same_shapes
from mapengine.ops.same import Copy
from mapengine.ops.shown import Shown
from mapengine.ops.split import LIST
from mapengine.ops.tensor import Tensor
from mapengine.specs import DTYPES

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mean(Combining):
    """Add tensors one after the other and divide by their number, all in their own dtype."""

    shapes: ClassVar[str] = "that of each, which must be one"
    exactly: ClassVar[Mapping[Exactness, str]] = {
        Exactness.EXACT: "where there is one tensor",
        Exactness.LOSSY: "where there are more: on the way back all are the mean",
    }
    over: Fan = argument(
        "fan", "The index whose members are averaged; without it, the rule's list of sources.",
        "rank", LIST,
    )  # fmt: skip
    in_: str | None = argument(
        "float32|float64", "What is computed in, where not in the tensors' own dtype.",
        "float32", None,
    )  # fmt: skip

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        same_shapes(tensors)
        return [self.together(tensors) if len(tensors) > 1 else tensors[0]]

    def result(self, dtypes: Sequence[str]) -> str:
        dtype = dtypes[0]
        if not DTYPES[dtype].floating:
            raise OpError(f"takes floating tensors, not {dtype}")
        if self.in_ is None and DTYPES[dtype].size == 1:
            raise OpError(f"nothing adds in {dtype}", help="`in: float32` adds in that")
        if self.in_ is not None and not widens(dtype, self.in_):
            raise OpError(f"{self.in_} does not hold every {dtype}", help="leave `in` out")
        return dtype

    def values(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        dtype = tensors[0].dtype
        wide = dtype if self.in_ is None else getattr(torch, self.in_)
        total = tensors[0].to(wide, copy=True)
        for tensor in tensors[1:]:
            total += tensor.to(wide)
        mean = total / len(tensors)
        _refuse_lost(mean, tensors)
        return mean.to(dtype)

    def inverse(self) -> Copy:
        return Copy(self.over)

    @property
    def uses(self) -> Fan:
        return self.over

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.EXACT if self.over.size == 1 else Exactness.LOSSY

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("rank", 1)), [(3, 4)]
        yield cls(Fan("rank", 1), "float64"), [(3,)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "norm.{rank}.weight -> norm.weight",
            "mean: {over: rank}",
            {"norm.0.weight": [1, 2, 3], "norm.1.weight": [1, 4, 4]},
            {"norm.weight": [1, 3, 3.5]},
            dims={"rank": 2},
        )


def _refuse_lost(mean: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Refuses sums beyond the range of what they were computed in."""
    lost = ~mean.isfinite()
    if not bool(lost.any()):
        return
    for tensor in tensors:  # what was no number before is none now
        lost &= tensor.to(mean.dtype).isfinite()
    count = int(lost.sum())
    if count:
        dtype = str(mean.dtype).removeprefix("torch.")
        wider = "float64" if dtype == "float32" else "float32"
        message = f"{count} of {mean.numel()} sums do not fit {dtype}"
        raise OpError(message, code="ME305", help=f"`in: {wider}` adds in that")
