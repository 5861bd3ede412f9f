"""Elements as torch sees them, and as integers of their size."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from mapengine.checkpoints.arena import Array

if TYPE_CHECKING:
    import torch

_lock = threading.Lock()
_ready: set[int] = set()
"""Processes in which torch may be used by several threads."""


def as_torch(raw: Array, dtype: str) -> torch.Tensor:
    """The elements that integers stand for; memory is shared, but that of a bool."""
    library = usable_torch()
    values, kind = library.from_numpy(raw), getattr(library, dtype)
    seen: torch.Tensor = values.bool() if kind is library.bool else values.view(kind)
    return seen


def as_raw(values: torch.Tensor) -> Array:
    """The integers that stand for elements."""
    library = usable_torch()
    raw = {1: library.int8, 2: library.int16, 4: library.int32, 8: library.int64}
    array: Array = values.contiguous().view(raw[values.element_size()]).numpy()
    return array


def usable_torch() -> Any:
    """torch, safe to use in several threads.

    In a process that was forked from one that had used it, the first to ask makes its threads anew,
    and two that ask at once break it: so one does, before all others.
    """
    import torch

    if os.getpid() not in _ready:
        with _lock:
            torch.set_num_threads(torch.get_num_threads())
            _ready.add(os.getpid())
    return torch
