"""Run a plan into another place: made here a few files at a time, whole or absent there."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mapengine.checkpoints import storage
from mapengine.checkpoints.beside import write_beside
from mapengine.checkpoints.execute import Result, result
from mapengine.checkpoints.hashing import check_sources
from mapengine.checkpoints.hub_place import hub_place
from mapengine.checkpoints.identity import identity, times
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.object_place import object_place
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.executors import default_workers
from mapengine.locations import URL, Location
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan

_BESIDE = 2**20


def send_plan(
    plan: Plan,
    source: Location,
    output: URL,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    overwrite: bool = False,
    restart: bool = False,
    hash: bool = False,
    follow_links: bool = False,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Writes the checkpoint a plan describes to a URL: as `run_plan` does to a path.

    In `scratch`, or the system's folder for such, are the files that are being made. Raises
    `OutputError` before anything is written where the output cannot be, `CheckpointError` for a
    place that does not answer.
    """
    storage.check_url(output, source)
    folder = SourceFolder(source, follow_links)
    of_run = identity(plan, folder, hash)
    workers = workers or default_workers(sync=False)
    kind = hub_place if output.scheme == "hf" else object_place
    with (
        tempfile.TemporaryDirectory(prefix="mapengine-", dir=scratch) as here,
        kind(output, Path(here), restart, overwrite) as place,
    ):
        if files := place.finished(folder, plan, of_run):
            done = result(plan, output, files, len(plan.shards))
            return replace(done, was_finished=True)
        _check_room(plan, folder, Path(here), workers)
        if hash:
            check_sources(folder, plan.stored)
        place.resume(plan, {**of_run, **times(plan, folder)}, restart)
        for shard in plan.shards:
            if progress and shard.name in place.kept:
                progress(Done(shard, shard.nbytes, len(shard.tensors)))
        left = [shard for shard in plan.shards if shard.name not in place.kept]
        write_shards(
            plan, left, plan.checks, folder, place, workers=workers, memory=memory, hash=hash,
            progress=progress,
        )  # fmt: skip
        write_beside(plan, folder, place, of_run, hash)
        return result(plan, output, place.publish(), len(place.kept))


def _check_room(plan: Plan, source: SourceFolder, here: Path, workers: int) -> None:
    """Raises where there is no room for the files that are made at the same time."""
    largest = sorted((shard.nbytes for shard in plan.shards), reverse=True)[: 2 * workers]
    storage.check_space(here, sum(largest) + sum(map(source.size, plan.companions)) + _BESIDE)
