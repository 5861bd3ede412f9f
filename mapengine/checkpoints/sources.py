"""The files of a source, opened when they are read: there may be more than can be open at once."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from mapengine.checkpoints import storage
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import CheckpointError, Problem, SourceChangedError
from mapengine.specs import FileContents

MOST_OPEN = 64
"""Files kept open, beside those in use."""


@dataclass
class _Open:
    file: BinaryIO
    users: int = 0


class SourceFiles:
    """Opens the files that were planned with, and no others. Safe to use from several threads."""

    def __init__(self, folder: SourceFolder, contents: Mapping[str, FileContents]) -> None:
        self._folder = folder
        self._contents = contents
        self._files: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._files.values():
            one.file.close()

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """The descriptor of a file, open as long as the context.

        Raises `CheckpointError` where it cannot be opened, or the context raises
        `storage.ReadError`, and `SourceChangedError` where it has changed.
        """
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

    def check(self) -> None:
        """Raises where a file is not what it was when the plan was made."""
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
