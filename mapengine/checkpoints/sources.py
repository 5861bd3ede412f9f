"""The files of a source while they are read: here opened in turn, elsewhere fetched in blocks."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from mapengine.checkpoints import storage
from mapengine.checkpoints.blocks import Blocks
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.ranges import Range
from mapengine.errors import CheckpointError, Problem, SourceChangedError
from mapengine.locations import URL
from mapengine.planning.budget import DEFAULT_MEMORY, leaves
from mapengine.specs import DTYPES, FileContents, StoredTensor
from mapengine.views import Lazy, View

T = TypeVar("T")

MOST_OPEN = 64
"""Files kept open, beside those in use."""


@dataclass
class _Open:
    file: BinaryIO
    users: int = 0


class SourceFiles:
    """Opens the files that were planned with, and no others. Safe to use from several threads.

    Of a folder elsewhere what `contents` are made of is fetched, or all tensors where they are not
    given, in blocks that take `memory` bytes at the most.
    """

    def __init__(
        self,
        folder: SourceFolder,
        files: Mapping[str, FileContents],
        contents: Iterable[Lazy] | None = None,
        memory: int = DEFAULT_MEMORY // 2,
        readers: int = 1,
    ) -> None:
        self._folder = folder
        self._contents = files
        self._files: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()
        self._blocks: Blocks | None = None
        self._readers = readers
        if isinstance(folder.path, URL):
            whole = (View.of(t) for file in files.values() for t in file.tensors.values())
            self._blocks = self._fetching(folder.path, contents or whole, memory)

    def _fetching(self, url: URL, contents: Iterable[Lazy], memory: int) -> Blocks:
        from mapengine.checkpoints.remote import connect

        remote = connect(url)
        ranges: dict[str, list[Range]] = {}
        for content in contents:
            for name, one in _ranges(content):
                ranges.setdefault(name, []).append(one)

        def fetch(name: str, start: int, end: int) -> bytes:
            return remote.fetch(name, remote.entry(name), start, end)

        return Blocks(fetch, ranges, memory, self._readers)

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._blocks:
            self._blocks.close()
        for one in self._files.values():
            one.file.close()

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[storage.Source]:
        """What a file is read from by offset, open as long as the context.

        Raises `CheckpointError` where it cannot be opened, or the context raises
        `storage.ReadError`, and `SourceChangedError` where it has changed.
        """
        if self._blocks:
            yield _Elsewhere(self._blocks, name)
            return
        with self._lock:
            one = self._files.get(name) or _Open(self._open(name))
            self._files[name] = one
            self._files.move_to_end(name)
            one.users += 1
            if len(self._files) > MOST_OPEN:
                self._close_idle()
        try:
            yield one.file.fileno()
        except storage.ReadError as error:
            problem = Problem("ME501", f"{self._folder.path / name}: {error}")
            raise CheckpointError(problem) from error
        finally:
            with self._lock:
                one.users -= 1

    def ahead(self, tasks: Iterable[T], contents: Callable[[T], Iterable[Lazy]]) -> Iterable[T]:
        """The tasks, each once what it reads is on its way here.

        Whoever does them may have taken a few more by the time that one of them is done.
        """
        return self._ahead(self._blocks, tasks, contents) if self._blocks else tasks

    def _ahead(
        self, blocks: Blocks, tasks: Iterable[T], contents: Callable[[T], Iterable[Lazy]]
    ) -> Iterator[T]:
        waiting: deque[T] = deque()
        wanted: deque[list[tuple[str, int]]] = deque()
        most = blocks.most_ahead
        for task in tasks:
            waiting.append(task)
            ranges = [one for content in contents(task) for one in _ranges(content)]
            wanted.append(blocks.want(ranges))
            if len(waiting) > most:
                yield waiting.popleft()
            if len(wanted) > most + 5 * self._readers:  # those before are done
                blocks.unwant(wanted.popleft())
        yield from waiting

    def check(self) -> None:
        """Raises where a file is not what it was when the plan was made."""
        if isinstance(self._folder.path, URL):
            from mapengine.checkpoints.remote import connect

            connect(self._folder.path).entries(fresh=True)
        for name in self._contents:
            with self._open(name):
                pass

    def _open(self, name: str) -> BinaryIO:
        file = self._folder.open(name)
        if storage.stamp(file) != self._contents[name].stamp:
            file.close()
            problem = Problem(
                "ME615", f"{name} has changed since it was planned", help="run it again"
            )
            raise SourceChangedError(problem)
        return file

    def _close_idle(self) -> None:
        idle = [name for name, one in self._files.items() if not one.users]
        for name in idle[: len(self._files) - MOST_OPEN]:
            self._files.pop(name).file.close()


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A file that comes in blocks."""

    blocks: Blocks
    name: str

    def read_at(self, at: int, data: memoryview) -> None:
        self.blocks.read(self.name, at, data)


def _ranges(content: Lazy) -> Iterator[tuple[str, Range]]:
    """From the first to the last byte of each stored tensor that is seen, by file."""
    for view in leaves(content):
        if view.spec.numel:
            assert isinstance(view.source, StoredTensor)
            size, at = DTYPES[view.dtype].size, view.source.location
            start = at.offset + view.offset * size
            span = 1 + sum((n - 1) * stride for n, stride in view.parts)
            yield at.file, (start, start + span * size)
