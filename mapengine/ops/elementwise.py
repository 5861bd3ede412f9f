"""Ops on elements, wherever these stand. On views they are put off until the bytes are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mapengine.ops.op import Op, one
from mapengine.ops.tensor import Tensor, combined, deferred, dtype_name
from mapengine.views import ValueOp

if TYPE_CHECKING:
    import torch


class Elementwise(Op):
    """Does not care where in a tensor an element stands, so it may be done piece by piece."""

    @abstractmethod
    def result(self, dtype: str) -> str:
        """The dtype that comes of `dtype`. Raises `OpError` for one the op cannot take."""

    @abstractmethod
    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        """The new elements. Raises `OpError` where a value does not survive."""

    @property
    def gain(self) -> float | None:
        """How many times larger it makes the difference of two values; None if that depends."""
        return None

    def undoes(self, other: ValueOp, dtype: str) -> bool:
        """Whether this after `other`, on values of `dtype`, gives every one of them back."""
        return False

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        self.result(dtype_name(tensor))
        put_off = deferred(self, tensor)
        return [self.values(cast("torch.Tensor", tensor)) if put_off is None else put_off]


class Combining(Op):
    """Takes the elements that stand at one place of several tensors together into one.

    Its `apply` gives `together` tensors of one shape.
    """

    @abstractmethod
    def result(self, dtypes: Sequence[str]) -> str:
        """The dtype that comes of those. Raises `OpError` for some the op cannot take."""

    @abstractmethod
    def values(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The new elements, of tensors that are to stay as they are. Raises `OpError`."""

    def together(self, tensors: Sequence[Tensor]) -> Tensor:
        """The one tensor that comes of tensors of one shape."""
        self.result([dtype_name(tensor) for tensor in tensors])
        put_off = combined(self, tensors)
        return self.values(cast("Sequence[torch.Tensor]", tensors)) if put_off is None else put_off
