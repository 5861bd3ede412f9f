"""How much memory the making of a tensor takes, and how large its parts may be for that. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mapengine.specs import DTYPES, StoredTensor
from mapengine.views import Agreed, Combined, Filled, Joined, Lazy, Mapped, View

DEFAULT_MEMORY = 512 * 10**6
"""Bytes for all workers together: little for a laptop, and enough for all but giant matrices."""
SMALLEST = 16 * 2**20
"""The least that one worker gets by with."""
CHUNK = 2**17
"""Bytes that are written, or copied from file to file, at a time.

They fit into the second-level cache. And a file system that keeps files in large runs of pages asks
for runs as long as a write: such are slow to get where memory is in pieces, or a guest's is lent.
"""
WINDOW = 2 * 2**20
"""About how many bytes of a file are read at a time where they are to be put in another order."""
BATCH = 4 * 2**20
"""Bytes that are written in one go past the page cache, and of a task: each costs a little."""
DENSE = 4 * 2**20
"""About how many bytes are made at a time where they lie close together in the source too."""
_TURNED = 256 * (256 * 8 + 64)
"""Bytes of the largest tile that is turned at a time."""
_COMPUTED = 2**18
"""Elements whose values are computed at a time, so that they stay in the cache."""
_CHECKED = 64
"""Bytes for each of those: its value before and after, both as doubles, their sizes, masks."""


_LINE = 64
"""Bytes that the beginning of one more buffer may cost."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one worker may allocate to make a tensor, in bytes.

    Every size that depends on it is decided here.
    """

    bytes: int

    @staticmethod
    def shared(memory: int, workers: int) -> tuple[Budget, int]:
        """The budget of each worker, and of how many: fewer where there is too little for all.

        What a worker gathers in, before it writes, is not counted in.
        """
        workers = max(min(workers, memory // SMALLEST), 1)
        return Budget(memory // workers - BATCH), workers

    @property
    def window(self) -> int:
        """Bytes of a file that are read at a time."""
        return min(WINDOW, self.bytes // 8)

    @property
    def computed(self) -> int:
        """Elements whose values are computed at a time."""
        return min(_COMPUTED, self.bytes // 4 // _CHECKED)

    def is_read_again(self, member: Lazy) -> bool:
        """Whether what is combined with others is made anew for each part that is computed.

        So are scales: even if all of them are read for each, that is a byte for an element, and to
        hold one for every element takes four.
        """
        read = _bytes_read(member)
        return read is not None and read <= self.computed

    def laid_out(self, view: View) -> int:
        """Elements of the buffer a view looks at that are made at a time."""
        assert isinstance(view.source, Lazy)
        each, _ = self._cost(view.source)
        share = self.bytes // (4 * max(_depth(view), 1))
        size = DTYPES[view.dtype].size
        return max(min(share // (size + each), view.source.spec.numel), 1)

    def elements(self, content: Lazy) -> int:
        """How many elements to make at a time: as many as fit, or as suit the cache."""
        each, fixed = self._cost(content)
        size = DTYPES[content.dtype].size
        most = (self.bytes - fixed) // (size + each)
        if not _depth(content) and all(map(_is_dense, leaves(content))):
            most = min(most, DENSE // size)
        return max(most, 1)

    def needed(self, content: Lazy, count: int) -> int:
        """The memory it takes to make `count` elements of a tensor in one go."""
        each, fixed = self._cost(content)
        return (DTYPES[content.dtype].size + each) * count + fixed

    def _cost(self, content: Lazy) -> tuple[int, int]:
        """Bytes beside the result itself: for each of its elements, and whatever their number."""
        if content.spec.numel == 0:
            return 0, 0
        size = DTYPES[content.dtype].size
        computed = min(self.computed, content.spec.numel)
        match content:
            case View(source=Lazy() as source):
                each, fixed = self._cost(source)
                made = self.laid_out(content)
                return 0, (size + each) * made + max(fixed, min(2 * size * made, _TURNED))
            case View():
                span = 1 + sum((n - 1) * stride for n, stride in content.parts)
                read = min(self.window, span * size)
                return 0, read + min(2 * read, _TURNED)
            case Filled():
                return 0, computed * _CHECKED
            case Mapped():
                each, fixed = self._cost(content.content)
                before = DTYPES[content.content.dtype].size
                return before + each, max(fixed, computed * _CHECKED)
            case Combined():
                costs = [self._cost(one) for one in content.members]
                each, fixed = (max(column) for column in zip(*costs, strict=True))
                held, again = 0, 0
                for one in content.members:
                    if self.is_read_again(one):
                        again += DTYPES[one.dtype].size
                    else:
                        held += DTYPES[one.dtype].size
                spare = _LINE * len(content.members)
                return held + each, max(fixed, computed * _CHECKED) + computed * again + spare
        costs = [self._cost(one) for one in content.inputs() if isinstance(one, Lazy)]
        each, fixed = (max(column) for column in zip(*costs, strict=True))
        if isinstance(content, Agreed):
            return each + size, max(fixed, computed)
        return each, fixed


def leaves(content: Lazy) -> Iterator[View]:
    """The stored tensors, as they are seen, that a tensor is made of."""
    if isinstance(content, View) and isinstance(content.source, StoredTensor):
        yield content
        return
    for inner in content.inputs():
        if isinstance(inner, Lazy):
            yield from leaves(inner)


def _bytes_read(content: Lazy) -> int | None:
    """How much of its files a tensor is made of that is seen, no more; None of any other."""
    if isinstance(content, Joined):
        read = [_bytes_read(one) for one in content.members]
        return None if None in read else sum(one for one in read if one)
    if isinstance(content, View) and isinstance(content.source, StoredTensor):
        return content.elements_read * DTYPES[content.dtype].size
    return None


def _depth(content: Lazy | StoredTensor) -> int:
    """How many buffers are looked at one through the other."""
    if isinstance(content, StoredTensor):
        return 0
    source = content.source if isinstance(content, View) else None
    own = isinstance(source, Lazy) and not isinstance(source, Filled)
    return own + max(map(_depth, content.inputs()), default=0)


def _is_dense(view: View) -> bool:
    """Whether elements that are neighbours in the tensor lie close together in the file too."""
    limit = DENSE // DTYPES[view.dtype].size
    count, span = 1, 1
    for n, stride in reversed(view.parts):
        if n == 0:
            return True
        taken = min(n, max(limit // count, 1))
        count, span = count * taken, span + (taken - 1) * stride
        if taken < n:
            break
    return span <= 2 * count
