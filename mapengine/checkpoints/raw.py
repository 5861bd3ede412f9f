"""Elements as torch sees them, and as integers of their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapengine.checkpoints.arena import Array

if TYPE_CHECKING:
    import torch


def as_torch(raw: Array, dtype: str) -> torch.Tensor:
    """The elements that integers stand for; memory is shared, but that of a bool."""
    import torch

    values, kind = torch.from_numpy(raw), getattr(torch, dtype)
    return values.bool() if kind is torch.bool else values.view(kind)


def as_raw(values: torch.Tensor) -> Array:
    """The integers that stand for elements."""
    import torch

    raw = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    array: Array = values.contiguous().view(raw[values.element_size()]).numpy()
    return array
