"""Tensors as small drawings: a rectangle as high and wide as its axes are long, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mapengine.planning.tracing import Bundle
from mapengine.specs import TensorSpec

LARGEST, SMALLEST = 30, 5
MOST_DRAWN = 3
_STEP = 4


@dataclass(frozen=True, slots=True)
class Glyph:
    """Rectangles of one size, each further to the front; `width` and `height` hold them all."""

    width: int
    height: int
    across: int
    down: int
    corners: tuple[tuple[int, int], ...]


class Scale:
    """One scale for all tensors of a page."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._most = math.log2(max([2, *sizes]))

    def length(self, size: int) -> int:
        part = math.log2(size) / self._most if size > 1 else 0
        return round(SMALLEST + (LARGEST - SMALLEST) * part)

    def glyph(self, spec: TensorSpec, count: int) -> Glyph:
        """A tensor, and up to two more behind it if there are several, or it has more axes."""
        *more, rows, columns = (1, 1, *spec.shape)
        down = SMALLEST if len(spec.shape) < 2 else self.length(rows)
        across = self.length(columns)
        drawn = min(MOST_DRAWN, max(count, math.prod(more)))
        shift = _STEP * (drawn - 1)
        corners = tuple((shift - _STEP * i, _STEP * i) for i in range(drawn))
        return Glyph(across + shift + 2, down + shift + 2, across, down, corners)

    def bundle(self, bundle: Bundle) -> Glyph | None:
        return self.glyph(bundle.specs[0], len(bundle.specs)) if bundle.specs else None
