"""Shapes and byte ranges as files declare them, believed only after a look."""

from __future__ import annotations

import math
from functools import lru_cache

from mapengine.formats.refusal import FormatError, shown

_MAX_AXES = 64
_MAX_COUNT = 2**63 - 1


def is_count(value: object) -> bool:
    """Whether this is a number of things: an integer that fits 63 bits, not a bool."""
    return type(value) is int and 0 <= value <= _MAX_COUNT


def checked_counts(value: object, what: str, key: str) -> tuple[int, ...]:
    """`value` as a tuple of counts, one per axis."""
    if not isinstance(value, (list, tuple)) or len(value) > _MAX_AXES:
        raise FormatError("ME503", f"tensor {shown(key)}: malformed {what}")
    if not all(map(is_count, value)):
        raise FormatError("ME503", f"tensor {shown(key)}: {what} with an entry that is no count")
    return tuple(value)


def checked_shape(value: object, key: str) -> tuple[int, ...]:
    """`value` as a shape whose elements, and row-major strides, can be counted in 63 bits."""
    shape = checked_counts(value, "shape", key)
    if not _countable(shape):
        raise FormatError("ME503", f"tensor {shown(key)}: its shape is too large to count")
    return shape


@lru_cache  # many tensors have one shape
def _countable(shape: tuple[int, ...]) -> bool:
    return math.prod(max(rows, 1) for rows in shape) <= _MAX_COUNT
