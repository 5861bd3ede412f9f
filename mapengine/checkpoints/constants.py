"""The elements of tensors that no file holds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mapengine.checkpoints.arena import Array
from mapengine.checkpoints.raw import as_raw, usable_torch
from mapengine.views import Filled


def make_elements(content: Filled, first: int, out: Array, at_once: int) -> None:
    """Makes consecutive elements from number `first`, row by row, so many `at_once`.

    `out` has one axis, and integers of the size of an element.
    """
    if not isinstance(content.value, str):
        out[...] = _bits(content.value, content.dtype) if content.value else 0
        return
    for start in range(0, out.size, at_once):
        part = out[start : start + at_once]
        numbers = np.arange(first + start, first + start + part.size)
        if content.value == "tril":
            rows, columns = content.shape[-2:]
            part[...] = 0
            part[numbers % columns <= numbers // columns % rows] = _bits(1, content.dtype)
        else:
            part[...] = _counted(numbers, content.dtype)


@lru_cache
def _bits(value: float, dtype: str) -> int:
    """A number of a dtype, as an integer of its size."""
    import torch

    return int(as_raw(torch.tensor([value], dtype=getattr(torch, dtype)))[0])


def _counted(numbers: Array, dtype: str) -> Array:
    """Numbers of a dtype, as integers of its size."""
    torch = usable_torch()
    return as_raw(torch.from_numpy(numbers).to(getattr(torch, dtype)))
