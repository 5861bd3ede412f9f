"""What a whole run, a part of one and the publishing of parts have in common."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path

from mapengine.checkpoints import storage
from mapengine.checkpoints.finished import finished
from mapengine.checkpoints.hashing import check_sources
from mapengine.checkpoints.identity import identity, times
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import OutputError, Problem
from mapengine.planning.budget import leaves
from mapengine.planning.plan import Plan, Shard
from mapengine.specs import StoredTensor

_BLOCK, _LISTED = 4096, 256
"""About how many bytes a file takes beside its tensors, and a tensor in a header and an index."""


@dataclass(frozen=True)
class Conversion:
    """A plan, what it reads, and what it is written to."""

    plan: Plan
    source: SourceFolder
    output: Path
    overwrite: bool
    hash: bool
    of_run: AnyMapping[str, str]
    """What makes another run the same one: see `identity`."""

    @staticmethod
    def of(
        plan: Plan, source: SourceFolder, output: Path, overwrite: bool, hash: bool
    ) -> Conversion:
        """Raises `CheckpointError`: what is carried over is read for its identity."""
        return Conversion(plan, source, output, overwrite, hash, identity(plan, source, hash))

    @property
    def identity(self) -> AnyMapping[str, str]:
        """The same for one that is to go on from where another stopped."""
        return {**self.of_run, **times(self.plan, self.source)}

    def finished(self) -> dict[str, int] | None:
        """The files of the output, where it is the one that is wanted already."""
        return finished(self.output, self.source, self.plan, self.of_run)

    def check_output(self) -> None:
        """Raises `OutputError` where no folder can be published at the output."""
        storage.check_output(self.output, self.source.path, self.overwrite)

    def check_free(self) -> None:
        """Raises `OutputError` where what stands at the output may not be replaced."""
        if problem := storage.occupied(self.output, self.overwrite):
            raise OutputError(problem)

    def check_room(self, shards: Sequence[Shard], companions: Iterable[str] = ()) -> None:
        """Raises `OutputError` where there is no room for files that are to be written."""
        if shards:
            largest = max(shards, key=lambda shard: shard.nbytes)
            storage.check_file_size(largest.name, largest.nbytes)
        beside = sum(self.source.size(name) + _BLOCK for name in companions)
        needed = sum(shard.nbytes + _BLOCK + _LISTED * len(shard.tensors) for shard in shards)
        storage.check_space(self.output.absolute().parent, needed + beside)

    def check_sources(self, shards: Sequence[Shard], others: bool = False) -> None:
        """Holds what is read for some shards, or all `others`, to the checksums it states.

        Raises `CheckpointError`.
        """
        views = (view for one in shards for t in one.tensors for view in leaves(t.content))
        read = {v.source.location.file for v in views if isinstance(v.source, StoredTensor)}
        files = {n: file for n, file in self.plan.stored.items() if (n in read) != others}
        check_sources(self.source, files)

    @contextlib.contextmanager
    def failing_clearly(self) -> Iterator[None]:
        """Raises an `OutputError` that says what became of the output for every `OSError`."""
        try:
            yield
        except OSError as error:
            is_new = False
            with contextlib.suppress(OSError):  # what can fail after publishing is to sync that
                is_new = self.finished() is not None
            state = "is the new one" if is_new else "is as it was"
            raise _failed(error, f"{self.output} {state}") from error


def _failed(error: OSError, state: str) -> OutputError:
    place = error.filename2 or error.filename or "the disk"
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"{place}: {reason}; {state}"
    return OutputError(Problem("ME614", message, help="; ".join(getattr(error, "__notes__", ()))))
