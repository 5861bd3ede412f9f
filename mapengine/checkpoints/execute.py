"""Run a plan: make every shard in a folder beside the output, then publish all by one rename."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mapengine.checkpoints.beside import write_beside
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.hashing import check_sources, still_whole
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.checkpoints.workspace import Workspace, place_of, workspace
from mapengine.executors import default_workers
from mapengine.locations import Location
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan, Shard


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has published. Sizes are in bytes."""

    output: str
    files: dict[str, int]
    tensors: int
    bytes_read: int
    bytes_written: int
    kept: int = 0
    """Shards that an earlier run had made."""
    was_finished: bool = False
    """Whether an earlier run had come to its end, so that nothing was left to do."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Make(Protocol):
    """Makes those shards of a run that its place has not, after all that must hold was checked."""

    def __call__(
        self, run: Conversion, left: Sequence[Shard], place: Workspace, *, workers: int | None,
        memory: int, progress: Progress | None,
    ) -> None: ...  # fmt: skip


def run_plan(
    plan: Plan,
    source: Location,
    output: Path,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    restart: bool = False,
    hash: bool = False,
    follow_links: bool = False,
    progress: Progress | None = None,
    make: Make | None = None,
) -> Result:
    """Writes the checkpoint a plan describes. Until it is whole, `output` is what it was before.

    What an earlier run of the same plan has written is kept, and what its parts have, unless
    `restart` says otherwise; where it has come to its end, nothing is done. `memory` is what it may
    allocate, in bytes. With `sync`, all is on the disk before it is published. With `hash`, the
    SHA-256 of every tensor and file goes into the receipt, and the checksums of the source's files
    are checked. `progress` is told what has been done since the last call. `make` is who makes the
    shards, if not threads of this process.

    Raises `OutputError` before anything is written where the output cannot be, and after that for a
    disk that fails; `PlanError` where a value does not survive an op.
    """
    folder = SourceFolder(source, follow_links)
    run = Conversion.of(plan, folder, output, overwrite, hash)
    with run.failing_clearly():
        run.check_output()
        if not (os.path.lexists(output) or os.path.lexists(place_of(output))):
            run.check_room(plan.shards, plan.companions)  # before anything is written
        with workspace(
            output, run.identity, whole=still_whole, overwrite=overwrite, sync=sync, restart=restart
        ) as place:
            # Only now is there no other run that could just be publishing it.
            if files := run.finished():
                return replace(result(plan, output, files, len(plan.shards)), was_finished=True)
            run.check_free()
            left = [shard for shard in plan.shards if shard.name not in place.kept]
            run.check_room(left, plan.companions)
            for shard in plan.shards:
                if progress and shard.name in place.kept:
                    progress(Done(shard, shard.nbytes, len(shard.tensors)))
            (make or _make_here)(
                run, left, place, workers=workers, memory=memory, progress=progress
            )
            files = write_beside(plan, folder, place, run.of_run, hash)
            place.publish()
            return result(plan, output, files, len(place.kept))


def _make_here(
    run: Conversion, left: Sequence[Shard], place: Workspace, *, workers: int | None, memory: int,
    progress: Progress | None,
) -> None:  # fmt: skip
    if run.hash:
        check_sources(run.source, run.plan.stored)
    write_shards(
        run.plan, left, run.plan.checks, run.source, place, memory=memory, hash=run.hash,
        workers=workers or default_workers(place.sync), progress=progress,
    )  # fmt: skip


def result(plan: Plan, output: Location, files: dict[str, int], kept: int) -> Result:
    tensors = sum(len(shard.tensors) for shard in plan.shards)
    return Result(str(output), files, tensors, plan.bytes_read, plan.bytes_written, kept)
