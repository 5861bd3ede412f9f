"""Run a plan: make every shard in a folder beside the output, then publish all by one rename."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mapengine.checkpoints.beside import write_beside
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.hashing import check_sources, still_whole
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.checkpoints.workspace import place_of, workspace
from mapengine.executors import default_workers
from mapengine.locations import Location
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan


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
) -> Result:
    """Writes the checkpoint a plan describes. Until it is whole, `output` is what it was before.

    What an earlier run of the same plan has written is kept, and what its parts have, unless
    `restart` says otherwise; where it has come to its end, nothing is done. `memory` is what it may
    allocate, in bytes. With `sync`, all is on the disk before it is published. With `hash`, the
    SHA-256 of every tensor and file goes into the receipt, and the checksums of the source's files
    are checked. `progress` is told what has been done since the last call.

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
            if hash:
                check_sources(folder, plan.stored)
            for shard in plan.shards:
                if progress and shard.name in place.kept:
                    progress(Done(shard, shard.nbytes, len(shard.tensors)))
            write_shards(
                plan, left, plan.checks, folder, place, workers=workers or default_workers(sync),
                memory=memory, hash=hash, progress=progress,
            )  # fmt: skip
            files = write_beside(plan, folder, place, run.of_run, hash)
            place.publish()
            return result(plan, output, files, len(place.kept))


def result(plan: Plan, output: Location, files: dict[str, int], kept: int) -> Result:
    tensors = sum(len(shard.tensors) for shard in plan.shards)
    return Result(str(output), files, tensors, plan.bytes_read, plan.bytes_written, kept)
