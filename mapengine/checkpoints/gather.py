"""Lazy tensors to bytes: what a piece is made of is read in windows and put in order.

Moving elements about does not look at them, so it is done by numpy on integers of the same size;
torch is imported only for ops on values. All else happens in the arena that each thread has.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mapengine.checkpoints import storage
from mapengine.checkpoints.arena import Arena, Array
from mapengine.checkpoints.constants import make_elements
from mapengine.checkpoints.raw import as_raw, as_torch
from mapengine.checkpoints.strided import copy
from mapengine.checkpoints.windows import Window, loops_of, windows
from mapengine.errors import OpError
from mapengine.planning.boxes import Box, grid, stretch, within
from mapengine.planning.budget import BATCH, CHUNK, Budget
from mapengine.planning.pieces import is_plain_copy
from mapengine.specs import DTYPES, StoredTensor
from mapengine.views import Agreed, Combined, Filled, Joined, Lazy, Mapped, View

if TYPE_CHECKING:
    import torch

    from mapengine.ops.elementwise import Combining, Elementwise

GAP = 4096
"""Bytes between two runs of a file that are rather read too than skipped by another call."""
_RAW = {size: np.dtype(f"i{size}") for size in (1, 2, 4, 8)}


@dataclass(frozen=True, slots=True)
class _Arenas:
    work: Arena
    batch: Arena


class Reader:
    """Makes tensors out of the files of one folder. Safe to use from several threads.

    `opened` gives what a file is read from, by its name, open as long as its context.
    """

    def __init__(
        self, opened: Callable[[str], AbstractContextManager[storage.Source]], budget: Budget
    ) -> None:
        self._opened = opened
        self._budget = budget
        self._thread = threading.local()

    def write(self, content: Lazy, target: int, to: int) -> None:
        """Makes a tensor and writes it at byte `to` of the file `target`.

        Raises `OpError` where a value does not survive, `OSError` from the disk.
        """
        if is_plain_copy(content):
            assert isinstance(content, View) and isinstance(content.source, StoredTensor)
            start = _byte(content, 0)
            name, count = content.source.location.file, content.spec.nbytes
            with self._opened(name) as file, self._arenas.work.room((CHUNK,), _RAW[1]) as room:
                storage.copy_range(file, start, target, to, count, room.data)
            return
        with self._room(content) as room:
            self.fill(content, room)
            storage.write_at(target, to, _bytes(room))

    @contextlib.contextmanager
    def gathering(self, size: int, phase: int) -> Iterator[Array]:
        """Bytes to put pieces in: those of a batch, or of one larger piece.

        They begin `phase` bytes after the beginning of a block.
        """
        arena = self._arenas.batch if size <= BATCH else self._arenas.work
        with arena.room((size,), _RAW[1], phase) as room:
            yield room

    def make(self, content: Lazy, out: Array) -> None:
        """Makes a tensor in the bytes `out`. Raises `OpError` where a value does not survive."""
        kind = _RAW[DTYPES[content.dtype].size]
        self.fill(content, np.ndarray(content.shape, kind, out.data))

    def fill(self, content: Lazy, out: Array) -> None:
        """Makes a tensor in `out`, whose elements are integers of the same size."""
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
                    self.fill(member, out[tuple(inside)])
                    start += length
            case Mapped():
                self._fill_values(content, out)
            case Filled():
                self._fill_view(View.of(content), out)
            case Combined():
                self._fill_combined(content, out)
            case Agreed():
                self.fill(content.members[0], out)
                with self._room(content) as other:
                    for member in content.members[1:]:
                        self.fill(member, other)
                        if not self._are_equal(out, other):
                            raise OpError(_disagreement(content), code="ME306")
            case _:
                raise TypeError(f"cannot make a {type(content).__name__}")

    def _are_equal(self, one: Array, other: Array) -> bool:
        return all(
            np.array_equal(one[part], other[part])
            for part in map(_slices, grid(one.shape, self._budget.computed))
        )

    def _fill_values(self, content: Mapped, out: Array) -> None:
        op: Elementwise = content.op  # type: ignore[assignment]
        before = content.content
        with self._filled(before) as values:
            for part in map(_slices, grid(content.shape, self._budget.computed)):
                out[part] = as_raw(op.values(as_torch(values[part], before.dtype)))

    def _fill_combined(self, content: Combined, out: Array) -> None:
        op: Combining = content.op  # type: ignore[assignment]
        members = content.members
        with contextlib.ExitStack() as stack:
            rooms: list[Array | None] = []
            for member in members:
                again = self._budget.is_read_again(member)
                rooms.append(None if again else stack.enter_context(self._filled(member)))
            for box in grid(content.shape, self._budget.computed):
                with contextlib.ExitStack() as inside:
                    here = [
                        self._part(member, room, box, inside)
                        for member, room in zip(members, rooms, strict=True)
                    ]
                    out[_slices(box)] = as_raw(op.values(here))

    def _part(
        self, member: Lazy, room: Array | None, box: Box, stack: contextlib.ExitStack
    ) -> torch.Tensor:
        """Part of a tensor: of what `room` holds of it, or made anew until `stack` is left."""
        if room is not None:
            return as_torch(room[_slices(box)], member.dtype)
        return as_torch(stack.enter_context(self._filled(within(member, box))), member.dtype)

    def _fill_view(self, view: View, out: Array) -> None:
        if is_plain_copy(view) and out.flags.c_contiguous:
            assert isinstance(view.source, StoredTensor)
            with self._opened(view.source.location.file) as file:
                storage.read_at(file, _byte(view, 0), _bytes(out))
            return
        loops = loops_of(view, out.strides)
        target = as_strided(out, [n for n, _, _ in loops], [step for _, _, step in loops])
        size = out.itemsize
        buffered = isinstance(view.source, Lazy)
        limit = self._budget.laid_out(view) if buffered else self._budget.window // size
        limit = min(limit, 1 + sum((n - 1) * stride for n, stride, _ in loops))
        with contextlib.ExitStack() as stack:
            read = self._source(view, stack)
            room = stack.enter_context(self._arenas.work.room((limit,), out.dtype))
            for window in windows(loops, limit, GAP // size):
                into = target[(*window.index, ...)]
                strides = [stride * size for _, stride, _ in loops[len(loops) - into.ndim :]]
                self._read_window(window, read, strides, into, room)

    def _read_window(
        self,
        window: Window,
        read: Callable[[int, Array], None],
        strides: list[int],
        into: Array,
        room: Array,
    ) -> None:
        """Reads a window, through `room` where its runs do not lie as they are wanted."""
        held = room[: window.runs * window.span]
        if window.runs > 1:
            strides[0] = window.span * into.itemsize  # one run after the other, not as they lay
        seen = np.ndarray(into.shape, into.dtype, held, 0, strides)
        one = slice(1) if window.runs > 1 else ...
        if seen[one].flags.c_contiguous and into[one].flags.c_contiguous:
            for i, start in enumerate(window.starts):
                read(start, (into[i : i + 1] if window.runs > 1 else into).reshape(-1))
            return
        for start, run in zip(window.starts, held.reshape(window.runs, -1), strict=True):
            read(start, run)
        copy(seen, into, self._arenas.work)

    def _source(self, view: View, stack: contextlib.ExitStack) -> Callable[[int, Array], None]:
        """What reads elements of a view's source, from a position within what the view sees."""
        if isinstance(view.source, Filled):
            filled, at_once = view.source, self._budget.computed
            return lambda first, out: make_elements(filled, view.offset + first, out, at_once)
        if isinstance(view.source, Lazy):
            source = view.source
            return lambda first, out: self._lay_out(source, view.offset + first, out)
        file = stack.enter_context(self._opened(view.source.location.file))
        return lambda first, out: storage.read_at(file, _byte(view, first), _bytes(out))

    def _lay_out(self, content: Lazy, first: int, out: Array) -> None:
        """Makes consecutive elements of a tensor, row-major, from number `first`."""
        done = 0
        for box in stretch(content.shape, first, out.size):
            part = within(content, box)
            count = part.spec.numel
            self.fill(part, out[done : done + count].reshape(part.shape))
            done += count

    def _room(self, content: Lazy) -> AbstractContextManager[Array]:
        """Memory for a tensor, in its shape."""
        return self._arenas.work.room(content.shape, _RAW[DTYPES[content.dtype].size])

    @contextlib.contextmanager
    def _filled(self, content: Lazy) -> Iterator[Array]:
        """A tensor in memory of its own."""
        with self._room(content) as room:
            self.fill(content, room)
            yield room

    @property
    def _arenas(self) -> _Arenas:
        arenas: _Arenas | None = getattr(self._thread, "arenas", None)
        if arenas is None:
            arenas = _Arenas(Arena(self._budget.bytes), Arena(BATCH))
            self._thread.arenas = arenas
        return arenas


def _slices(box: Box) -> tuple[Any, ...]:
    return (*(slice(start, start + length) for start, length in box), ...)


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _byte(view: View, first: int) -> int:
    """Where in its file an element lies, counted from the first that a view sees."""
    assert isinstance(view.source, StoredTensor)
    return view.source.location.offset + (view.offset + first) * DTYPES[view.dtype].size


def _disagreement(content: Agreed) -> str:
    files = []
    for member in content.members:
        inner: Any = member
        while isinstance(inner, Lazy) and inner.inputs():
            inner = inner.inputs()[0]
        files.append("the mapping" if isinstance(inner, Lazy) else inner.location.file)
    return f"the tensors that should be the same are not, in {', '.join(dict.fromkeys(files))}"
