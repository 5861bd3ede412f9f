"""Lazy tensors cut into pieces, each of which can be made by itself in bounded memory. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mapengine.planning.boxes import grid, within
from mapengine.planning.budget import BATCH, CHUNK, Budget
from mapengine.specs import DTYPES, StoredTensor
from mapengine.views import Joined, Lazy, Mapped, View

RUN = 64 * 2**10
"""The shortest run of bytes that is copied by itself; shorter ones go through a buffer."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a tensor: where its bytes begin within the tensor, and its content."""

    offset: int
    content: Lazy


def pieces(content: Lazy, budget: Budget) -> Iterator[Piece]:
    """A tensor in consecutive pieces, none of which takes more than the budget to make."""
    yield from _pieces(content if content.ndim else content.reshape((1,)), 0, budget)


def _pieces(content: Lazy, offset: int, budget: Budget) -> Iterator[Piece]:
    if content.spec.nbytes == 0:
        return
    if content.spec.nbytes <= BATCH and is_plain_copy(content):
        yield Piece(offset, content)
        return
    size = DTYPES[content.dtype].size
    content = content.reshape(_natural_shape(content))
    if isinstance(content, Joined) and content.dim == 0:
        parts = iter(content.members)
    elif is_plain_copy(content):
        for box in grid(content.shape, BATCH // size):
            piece = within(content, box)
            yield Piece(offset, piece)
            offset += piece.spec.nbytes
        return
    elif _run(content) * size >= RUN:
        parts = (content.narrow(0, row, 1) for row in range(content.shape[0]))
    else:
        for box in grid(content.shape, budget.elements(content)):
            piece = within(content, box)
            yield Piece(offset, piece)
            offset += piece.spec.nbytes
        return
    for part in parts:
        yield from _pieces(part, offset, budget)
        offset += part.spec.nbytes


def _natural_shape(content: Lazy) -> tuple[int, ...]:
    """The same elements with an axis for each loop over the source: it cuts best along those."""
    match content:
        case View():
            return tuple(n for n, _ in content.parts) or (1,)
        case Mapped():
            return _natural_shape(content.content)
    return tuple(n for n in content.shape if n != 1) or (1,)


def _run(content: Lazy) -> int:
    """How many elements in a row lie just so in one file; 0 where values are computed."""
    match content:
        case View(source=StoredTensor()):
            return next((n for n, stride in content.parts[-1:] if stride == 1), 1)
        case Joined():
            rows = (math.prod(member.shape[content.dim :]) for member in content.members)
            return min(min(row, _run(one)) for row, one in zip(rows, content.members, strict=True))
    return 0


def is_plain_copy(content: Lazy) -> bool:
    """Whether the bytes lie in one stretch of one file, just as they are wanted."""
    return (
        isinstance(content, View)
        and isinstance(content.source, StoredTensor)
        and content.is_contiguous
    )


def working_bytes(content: Lazy, budget: Budget) -> int:
    """The memory it takes to make the pieces of a tensor, one at a time."""
    if isinstance(content, Joined) and content.dim == 0:
        return max(working_bytes(member, budget) for member in content.members)
    if content.spec.nbytes == 0:
        return 0
    if is_plain_copy(content):
        return CHUNK
    return budget.needed(content, min(budget.elements(content), content.spec.numel))
