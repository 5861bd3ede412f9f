"""What a target matrix is made of, read off its view: which rows and columns of which source.

A rule's ops run on views of sources in which a step along a row and a step along a column can be
told apart, whatever is merged and cut in between. So there is no table of what each op does to rows
and columns: where a row of the target follows from a row of the source alone, and a column from a
column, the view says so, and says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mapengine.axes import Part
from mapengine.errors import OpError
from mapengine.ops.elementwise import Elementwise
from mapengine.planning.budget import leaves
from mapengine.specs import StoredTensor, TensorLocation, TensorSpec, contiguous_strides
from mapengine.views import Agreed, Joined, Lazy, Mapped, View

Ids = np.ndarray[Any, np.dtype[np.int64]]
Alike = Callable[[str, str], bool]
"""Whether two sources are updated alike, bit for bit."""

LARGEST_AXIS = 2**24
"""Rows or columns of a matrix; the largest vocabularies have a fiftieth of it."""
_ROW = 2**60
"""The stride of a row: no sum of strides along columns comes to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A part of a target that is a part of one source, times `gain`.

    Row `rows[i]` and column `cols[j]` of the target hold row `from_rows[i]` and column
    `from_cols[j]` of the source; where it is `turned`, its column `from_rows[i]` and its row
    `from_cols[j]`.
    """

    source: str
    gain: Fraction
    turned: bool
    rows: Ids
    cols: Ids
    from_rows: Ids
    from_cols: Ids


def marked(spec: TensorSpec, file: str) -> StoredTensor:
    """A source that is no more than its rows and columns: the first axis, and all the others.

    Raises `OpError` where it is no matrix, or one beyond any that is meant.
    """
    if len(spec.shape) < 2:
        raise OpError(f"{list(spec.shape)} is no matrix", "ME340")
    rows, cols = spec.shape[0], math.prod(spec.shape[1:])
    if max(rows, cols) > LARGEST_AXIS:
        raise OpError(f"a matrix of {rows:,} by {cols:,} is beyond every model's", "ME340")
    strides = (_ROW, *contiguous_strides(spec.shape)[1:])
    return StoredTensor(spec, TensorLocation(file, 0, strides))


def blocks_of(content: Lazy, sources: Mapping[int, str], alike: Alike) -> list[Block]:
    """The blocks of a target: its first axis are rows, the others together columns.

    `sources` has the names of `marked` tensors by `id`; what is made of others is left out. Raises
    `OpError` where rows and columns do not stay apart.
    """
    if not touches(content, sources):
        return []
    if content.ndim < 2:
        raise OpError(f"it becomes part of {list(content.shape)}, which is no matrix", "ME340")
    if max(content.shape[0], math.prod(content.shape[1:])) > LARGEST_AXIS:
        raise OpError(f"a matrix of {list(content.shape)} is beyond every model's", "ME340")
    return list(_Blocks(sources, alike).of(content, 1))


def touches(content: Lazy, sources: Mapping[int, str]) -> bool:
    """Whether a target is made of any of the sources."""
    return content.spec.numel > 0 and any(id(leaf.source) in sources for leaf in leaves(content))


@dataclass(frozen=True)
class _Blocks:
    sources: Mapping[int, str]
    alike: Alike

    def of(self, content: Lazy, lead: int) -> Iterator[Block]:
        """The blocks of a tensor whose first `lead` axes are rows, the others columns."""
        if not touches(content, self.sources):
            return
        if max(map(math.prod, _parted(content.shape, lead))) > LARGEST_AXIS:
            raise _mixed()
        match content:
            case View(source=StoredTensor() as stored):
                yield _seen(content, lead, self.sources[id(stored)])
            case View(source=Lazy() as buffer):
                yield from self._through(content, lead, buffer)
            case Joined():
                yield from self._joined(content, lead)
            case Mapped():
                gain = _gain(content)
                for block in self.of(content.content, lead):
                    yield replace(block, gain=block.gain * gain)
            case Agreed():
                yield from self._agreed(content, lead)
            case _:
                raise OpError("its values are computed with, not moved or multiplied", "ME340")

    def _joined(self, content: Joined, lead: int) -> Iterator[Block]:
        shape, dim = content.shape, content.dim
        start = 0
        for member in content.members:
            length = member.shape[dim]
            rows, cols = (np.arange(math.prod(part)).reshape(part) for part in _parted(shape, lead))
            cut = slice(start, start + length)
            if dim < lead:
                rows = rows[(*[slice(None)] * dim, cut)]
            else:
                cols = cols[(*[slice(None)] * (dim - lead), cut)]
            rows, cols = rows.reshape(-1), cols.reshape(-1)
            for block in self.of(member, lead):
                yield replace(block, rows=rows[block.rows], cols=cols[block.cols])
            start += length

    def _through(self, view: View, lead: int, buffer: Lazy) -> Iterator[Block]:
        """The blocks of what a view sees of a tensor that was laid out in between."""
        down, across = (_offsets(parts) for parts in _halves(view, lead))
        refusal = _mixed()
        for head in range(buffer.ndim + 1):
            inner = math.prod(buffer.shape[head:])
            for turned in (False, True):
                outside, inside = (across, down) if turned else (down, across)
                rest = view.offset % inner + inside
                if (outside % inner).any() or (rest >= inner).any():
                    continue
                try:
                    found = list(self.of(buffer, head))
                except OpError as error:
                    refusal = error
                    continue
                wanted = view.offset // inner + outside // inner, rest
                picked = (_picked(block, *wanted, turned=turned) for block in found)
                yield from (block for block in picked if len(block.rows) and len(block.cols))
                return
        raise refusal

    def _agreed(self, content: Agreed, lead: int) -> Iterator[Block]:
        """The blocks of tensors that must be equal: their updates must be, too."""
        first, *others = (_in_order(list(self.of(one, lead))) for one in content.members)
        for other in others:
            if len(other) != len(first) or not all(map(self._equal, first, other)):
                raise OpError(
                    "it must stay equal to others, which the adapter updates otherwise or not",
                    "ME340", "an adapter of tied tensors updates all of them alike",
                )  # fmt: skip
        return iter(first)

    def _equal(self, one: Block, other: Block) -> bool:
        same = (one.turned, one.gain) == (other.turned, other.gain)
        arrays = ("rows", "cols", "from_rows", "from_cols")
        return (
            same
            and all(np.array_equal(getattr(one, a), getattr(other, a)) for a in arrays)
            and self.alike(one.source, other.source)
        )


def _gain(content: Mapped) -> Fraction:
    """What an op on values makes of a difference between two of them."""
    op = content.op
    gain = op.gain if isinstance(op, Elementwise) else None
    if gain is None:
        raise OpError(f"{type(op).__name__.lower()} of a sum is not the sum of its own", "ME340")
    return Fraction(gain)


def _parted(shape: Sequence[int], lead: int) -> tuple[Sequence[int], Sequence[int]]:
    return shape[:lead], shape[lead:]


def _halves(view: View, lead: int) -> tuple[list[Part], list[Part]]:
    """The parts of the axes of rows, and of those of columns."""
    above, below = view.axes[:lead], view.axes[lead:]
    return [p for axis in above for p in axis], [p for axis in below for p in axis]


def _offsets(parts: Sequence[Part], step: int = 1) -> Ids:
    """Where the positions along some parts lie, in row-major order, in units of `step`."""
    offsets = np.zeros(1, np.int64)
    for n, stride in parts:
        offsets = np.add.outer(offsets, np.arange(n, dtype=np.int64) * (stride // step)).reshape(-1)
    return offsets


def _seen(view: View, lead: int, source: str) -> Block:
    """The one block of a view of a marked tensor."""
    down, across = _halves(view, lead)
    row, col = divmod(view.offset, _ROW)
    kinds = [{stride >= _ROW for _, stride in half} for half in (down, across)]
    if kinds[0] <= {True} and kinds[1] <= {False}:
        turned, from_rows, from_cols = False, _offsets(down, _ROW) + row, _offsets(across) + col
    elif kinds[0] <= {False} and kinds[1] <= {True}:
        turned, from_rows, from_cols = True, _offsets(down) + col, _offsets(across, _ROW) + row
    else:
        raise _mixed()
    rows, cols = np.arange(len(from_rows)), np.arange(len(from_cols))
    return Block(source, Fraction(1), turned, rows, cols, from_rows, from_cols)


def _picked(block: Block, rows: Ids, cols: Ids, *, turned: bool) -> Block:
    """What positions `rows` and `cols` of a tensor see of a block of it."""
    there, from_rows = _found(block.rows, block.from_rows, rows)
    across, from_cols = _found(block.cols, block.from_cols, cols)
    if turned:
        there, from_rows, across, from_cols = across, from_cols, there, from_rows
    return Block(
        block.source, block.gain, block.turned != turned, there, across, from_rows, from_cols
    )


def _found(there: Ids, origins: Ids, wanted: Ids) -> tuple[Ids, Ids]:
    """Which of the `wanted` positions are `there`, and the origin of each of them."""
    order = np.argsort(there, kind="stable")
    at = np.minimum(np.searchsorted(there, wanted, sorter=order), len(there) - 1)
    hits = np.flatnonzero(there[order[at]] == wanted)
    return hits, origins[order[at[hits]]]


def _in_order(blocks: list[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: (block.rows[0], block.cols[0]))


def _mixed() -> OpError:
    return OpError(
        "its rows and columns do not stay apart, so an update of few ranks becomes one of many",
        "ME340", "merge the adapter into the weights, and map those",
    )  # fmt: skip
