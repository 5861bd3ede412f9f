"""Lazy tensors cut into pieces, each of which can be made by itself in bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mapengine.specs import StoredTensor
from mapengine.views import Agreed, Joined, Lazy, Mapped, View

PIECE = 32 * 2**20
"""About how many bytes of a tensor are made at a time."""
VALUES_PIECE = PIECE // 8
"""The same where values are computed, which takes several times the room."""
_CHECKED = 32
"""Bytes for each element while its value is checked: doubles, their sizes, masks."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a tensor: where its bytes begin within the tensor, and its content."""

    offset: int
    content: Lazy


def pieces(content: Lazy, limit: int | None = None) -> Iterator[Piece]:
    """A tensor in consecutive pieces of about `limit` bytes, as far as it can be cut."""
    if limit is None:
        limit = VALUES_PIECE if _computes(content) else PIECE
    yield from _pieces(content if content.ndim else content.reshape((1,)), 0, limit)


def _computes(content: Lazy) -> bool:
    """Whether values are computed on the way."""
    if isinstance(content, Mapped):
        return True
    return any(isinstance(one, Lazy) and _computes(one) for one in content.inputs())


def _pieces(content: Lazy, offset: int, limit: int) -> Iterator[Piece]:
    size = content.spec.nbytes
    if size == 0:
        return
    if is_plain_copy(content) or size <= limit or is_laid_out(content):
        yield Piece(offset, content)
    elif isinstance(content, Joined) and content.dim == 0:
        for member in content.members:
            yield from _pieces(member, offset, limit)
            offset += member.spec.nbytes
    elif content.shape[0] == 1 and content.ndim > 1:
        yield from _pieces(content.reshape(content.shape[1:]), offset, limit)
    else:
        rows = content.shape[0]
        row = size // rows
        step = max(limit // row // content.grain, 1) * content.grain
        for start in range(0, rows, step):
            length = min(step, rows - start)
            yield Piece(offset + start * row, content.narrow(0, start, length))


def is_laid_out(content: Lazy) -> bool:
    """Whether it looks at a buffer, which to lay out for every piece anew would be a waste."""
    match content:
        case View(source=Lazy()):
            return True
        case View() | Joined(dim=0):
            return False
    return any(isinstance(one, Lazy) and is_laid_out(one) for one in content.inputs())


def is_plain_copy(content: Lazy) -> bool:
    """Whether the bytes lie in one stretch of one file, just as they are wanted."""
    return (
        isinstance(content, View)
        and isinstance(content.source, StoredTensor)
        and content.is_contiguous
    )


def working_bytes(content: Lazy) -> int:
    """The memory it takes to make a piece: its bytes, and those of what is made on the way."""
    return 0 if is_plain_copy(content) else content.spec.nbytes + _beside(content)


def _beside(content: Lazy) -> int:
    match content:
        case View(source=Lazy() as source):  # laid out in full before it is looked at
            return source.spec.nbytes + _beside(source)
        case Mapped():  # before, after, and what it takes to see that no value is lost
            around = content.content.spec.nbytes + content.spec.nbytes
            return around + _CHECKED * content.spec.numel + _beside(content.content)
        case Joined():
            return max(map(_beside, content.members))
        case Agreed():
            one = content.members[0]
            return one.spec.nbytes + max(map(_beside, content.members))
    return 0
