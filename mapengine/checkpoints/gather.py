"""Lazy tensors to bytes: strided passes over mapped files, in bounded pieces.

Moving elements about does not look at them, so it is done by numpy on integers of the same size;
torch is imported only for ops on values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mapengine.checkpoints import storage
from mapengine.errors import OpError
from mapengine.planning.pieces import Piece, is_plain_copy
from mapengine.specs import DTYPES, StoredTensor
from mapengine.views import Agreed, Joined, Lazy, Mapped, View

if TYPE_CHECKING:
    import torch

    from mapengine.ops.elementwise import Elementwise

Array = np.ndarray[Any, Any]
TILE = 128
"""Side of a square of elements that stays in the cache while it is turned."""

_RAW = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}


class Reader:
    """Makes tensors out of the files of one folder. Safe to use from several threads."""

    def __init__(self, descriptor: Callable[[str], int]) -> None:
        self.descriptor = descriptor

    def write(self, piece: Piece, target: int, to: int) -> None:
        """Makes a piece and writes it at byte `to` of the file `target`.

        Raises `OpError` where a value does not survive, `OSError` from the disk.
        """
        content, to = piece.content, to + piece.offset
        if isinstance(content, View) and is_plain_copy(content):
            file, start, length = _extent(content)
            storage.copy_range(self.descriptor(file), start, target, to, length)
            return
        storage.write_at(target, to, self.evaluate(content).reshape(-1).view(np.uint8).data)

    def evaluate(self, content: Lazy) -> Array:
        """The tensor, row-major, its elements as integers of their size."""
        out = np.empty(content.shape, _RAW[DTYPES[content.dtype].size])
        self._fill(content, out)
        return out

    def _fill(self, content: Lazy, out: Array) -> None:
        if out.size == 0:
            return
        match content:
            case View():
                self._fill_view(content, out)
            case Joined():
                start = 0
                for member in content.members:
                    length = member.shape[content.dim]
                    inside = [slice(None)] * out.ndim
                    inside[content.dim] = slice(start, start + length)
                    self._fill(member, out[tuple(inside)])
                    start += length
            case Mapped():
                out[...] = _mapped(content, self.evaluate(content.content))
            case Agreed():
                self._fill(content.members[0], out)
                for member in content.members[1:]:
                    if not np.array_equal(out, self.evaluate(member)):
                        raise OpError(_disagreement(content), code="ME306")
            case _:
                raise TypeError(f"cannot make a {type(content).__name__}")

    def _fill_view(self, view: View, out: Array) -> None:
        if isinstance(view.source, Lazy):
            buffer = self.evaluate(view.source).reshape(-1)
            _spread(view, buffer[view.offset :], out)
            return
        file, start, length = _extent(view)
        with storage.mapped(self.descriptor(file), start, length) as data:
            elements = np.frombuffer(data, out.dtype)
            _spread(view, elements, out)
            del elements  # or the map could not be let go


def _spread(view: View, elements: Array, out: Array) -> None:
    """Copies the elements a view sees, in its order, into `out`."""
    size = out.itemsize
    sizes = [n for axis in view.axes for n, _ in axis]
    strides = [s * size for axis in view.axes for _, s in axis]
    into = []
    for axis, stride in zip(view.axes, out.strides, strict=True):
        inner = math.prod(n for n, _ in axis)
        for n, _ in axis:
            inner //= n
            into.append(stride * inner)
    _copy(as_strided(elements, sizes, strides, writeable=False), as_strided(out, sizes, into))


def _copy(source: Array, target: Array) -> None:
    """Copies element by element; where the two run in different directions, tile by tile.

    A transpose in one go misses the cache at every element: tiles make it more than twice as fast.
    """
    if target.size <= TILE * TILE:
        target[...] = source
        return
    reading = min(range(source.ndim), key=lambda axis: source.strides[axis])
    writing = min(range(target.ndim), key=lambda axis: target.strides[axis])
    if reading == writing:
        target[...] = source
        return
    along: list[slice] = [slice(None)] * source.ndim
    for i in range(0, source.shape[reading], TILE):
        along[reading] = slice(i, i + TILE)
        for j in range(0, source.shape[writing], TILE):
            along[writing] = slice(j, j + TILE)
            target[tuple(along)] = source[tuple(along)]


def _extent(view: View) -> tuple[str, int, int]:
    """File, first byte and length of the stretch of bytes that a view of a stored tensor spans."""
    assert isinstance(view.source, StoredTensor)
    size = DTYPES[view.dtype].size
    reach = sum((n - 1) * stride for axis in view.axes for n, stride in axis)
    location = view.source.location
    return location.file, location.offset + view.offset * size, (reach + 1) * size


def _mapped(content: Mapped, raw: Array) -> Array:
    import torch

    op: Elementwise = content.op  # type: ignore[assignment]
    values = op.values(_as_torch(torch.from_numpy(raw), content.content.dtype))
    return _as_numpy(values)


def _as_torch(raw: torch.Tensor, dtype: str) -> torch.Tensor:
    import torch

    kind = getattr(torch, dtype)
    return raw.bool() if kind is torch.bool else raw.view(kind)


def _as_numpy(values: torch.Tensor) -> Array:
    import torch

    raw = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    array: Array = values.contiguous().view(raw[values.element_size()]).numpy()
    return array


def _disagreement(content: Agreed) -> str:
    files = []
    for member in content.members:
        inner: Any = member
        while isinstance(inner, Lazy):
            inner = inner.inputs()[0]
        files.append(inner.location.file)
    return f"the tensors that should be the same are not, in {', '.join(dict.fromkeys(files))}"
