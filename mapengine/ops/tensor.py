"""The little of torch's interface that ops are written in, for real tensors and views alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from mapengine.views import (
    Agreed,
    Combined,
    CombiningOp,
    Filled,
    Joined,
    Lazy,
    Mapped,
    ValueOp,
    View,
)

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor | Lazy
else:
    Tensor = Any


def join(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """The tensors one after another along axis `dim`."""
    if isinstance(tensors[0], Lazy):
        return Joined.of(cast("Sequence[Lazy]", tensors), dim)
    import torch

    return torch.cat(cast("list[torch.Tensor]", list(tensors)), dim)


def zeros(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of the dtype of another tensor."""
    if isinstance(like, Lazy):
        return View.of(Filled(0, tuple(shape), like.dtype))
    return like.new_zeros(tuple(shape))


def repeat(tensor: Tensor, times: int, dim: int) -> Tensor:
    """Every position of axis `dim` so many times in a row."""
    if isinstance(tensor, Lazy):
        return tensor.repeated(times, dim)
    shape = (*tensor.shape[: dim + 1], times, *tensor.shape[dim + 1 :])
    return tensor.unsqueeze(dim + 1).expand(shape).flatten(dim, dim + 1)


def cycle(count: int, like: Tensor) -> Tensor:
    """The bytes 0 to `count` - 1 again and again, in the shape of another tensor."""
    if isinstance(like, Lazy):
        row: Tensor = Filled("arange", (1, count), "uint8")
    else:
        import torch

        row = torch.arange(count, dtype=torch.uint8).reshape((1, count))
    return repeat(row, math.prod(like.shape) // count, 0).reshape(like.shape)


def agree(tensors: Sequence[Tensor]) -> Tensor | None:
    """The one value of tensors that must be equal bit for bit; None if they are not.

    Views agree for now: their bytes are compared when they are read.
    """
    if isinstance(tensors[0], Lazy):
        return Agreed.of(cast("Sequence[Lazy]", tensors))
    import torch

    flat = [t.reshape(-1) for t in cast("list[torch.Tensor]", tensors)]
    raw = [t.clone(memory_format=torch.contiguous_format).view(torch.uint8) for t in flat]
    return tensors[0] if all(torch.equal(raw[0], other) for other in raw[1:]) else None


def deferred(op: ValueOp, tensor: Tensor) -> Tensor | None:
    """An elementwise op put off, on a view; None for a real tensor, which is computed at once."""
    return Mapped.of(op, tensor) if isinstance(tensor, Lazy) else None


def combined(op: CombiningOp, tensors: Sequence[Tensor]) -> Tensor | None:
    """The same for an op on the elements of several tensors."""
    if isinstance(tensors[0], Lazy):
        return Combined.of(op, cast("Sequence[Lazy]", tensors))
    return None


def dtype_name(tensor: Tensor) -> str:
    """`bfloat16`, for a real tensor as for a view."""
    return str(tensor.dtype).removeprefix("torch.")
