"""Where tensors differ: what a plan holds values to. No op of the language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from mapengine.ops.op import Exactness
from mapengine.ops.tensor import Tensor
from mapengine.views import Lazy

if TYPE_CHECKING:
    import torch


class Differing:
    """True where two tensors of one dtype have other bits."""

    def result(self, dtypes: Sequence[str]) -> str:
        return "bool"

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.ONE_WAY

    def values(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        kinds: dict[int, Any] = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        one, other = (t.contiguous().view(kinds[t.element_size()]) for t in tensors)
        return one != other


def count_differing(one: Tensor, other: Tensor) -> int:
    """How many elements differ: of views none for now, they are compared when they are read."""
    if isinstance(one, Lazy):
        return 0
    return int(Differing().values(cast("Sequence[torch.Tensor]", [one, other])).sum())
