"""Runs a plan on a cluster: a task for each shard, small values in, a record out.

The driver has the place of the output for itself, and alone adds to it. A task makes its shard in a
folder of its own, so two copies of one do no harm: whose record comes first is taken, and the other
finds its folder gone. Whoever takes part needs source and output on storage that all nodes share.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapengine.api import Job, plan
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.hashing import still_there
from mapengine.checkpoints.journal import Finished
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.checkpoints.workspace import Workspace
from mapengine.errors import MapengineError, OutputError, Problem
from mapengine.executors.ray import RayExecutor
from mapengine.planning.plan import Shard
from mapengine.saved import saved_job

INTERPRETER = 300 * 10**6
"""Bytes of a worker beside what is allocated for the work: Python, numpy, torch and Ray."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to be made, by its number in the plan; `job` and `identity` are JSON of the plan's.

    `folder` was made by the driver, for the tasks of this run alone.
    """

    job: str
    identity: str
    folder: str
    number: int
    memory: int
    hash: bool
    sync: bool


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that is whole, in the folder of the task that has made it."""

    number: int
    folder: str
    finished: Finished


@dataclass(frozen=True, slots=True)
class OnRay:
    """Makes the shards of a run on a Ray cluster. `workers` is the most tasks at once."""

    job: Job
    address: str | None

    def __call__(
        self, run: Conversion, left: Sequence[Shard], place: Workspace, *, workers: int | None,
        memory: int, progress: Progress | None,
    ) -> None:  # fmt: skip
        if run.hash:
            run.check_sources(left, others=True)
        if run.plan.checks:
            write_shards(run.plan, (), run.plan.checks, run.source, place, workers=1, memory=memory)
        if not left:
            return
        executor = RayExecutor(self.address, run.plan.peak_memory(1, memory) + INTERPRETER)
        with _folder_for_tasks(place.parts) as folder:
            tasks = self._tasks(run, left, folder, memory, place.sync)
            with contextlib.closing(executor(make_shard, tasks, workers)) as results:
                for made in results:
                    shard = run.plan.shards[made.number]
                    _take(made, place, folder)
                    if progress:
                        progress(Done(shard, shard.nbytes, len(shard.tensors)))

    def _tasks(
        self, run: Conversion, left: Sequence[Shard], folder: Path, memory: int, sync: bool
    ) -> list[ShardTask]:
        job = json.dumps(saved_job(self.job, run.plan)["job"])
        identity = json.dumps(run.identity)
        numbers = {shard.name: number for number, shard in enumerate(run.plan.shards)}
        return [
            ShardTask(job, identity, str(folder), numbers[one.name], memory, run.hash, sync)
            for one in sorted(left, key=lambda shard: (-shard.nbytes, shard.name))
        ]


@contextlib.contextmanager
def _folder_for_tasks(parts: Path) -> Iterator[Path]:
    """A folder for the tasks of one run; gone after it, even from under those still at work."""
    folder = parts / secrets.token_hex(8)
    folder.mkdir()
    try:
        yield folder
    finally:
        gone = folder.with_suffix(".gone")
        with contextlib.suppress(OSError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _take(made: Made, place: Workspace, folder: Path) -> None:
    """Adds a shard to the place, and removes what other tries of it have left."""
    home, one = Path(made.folder), made.finished
    if not list(still_there(home, [one])):
        message = f"{home / one.name} was made on another node, and is not seen here as it is there"
        raise OutputError(Problem("ME623", message, help=_SHARE))
    place.take(home / one.name, one)
    for other in folder.glob(f"{made.number}-*"):
        shutil.rmtree(other, ignore_errors=True)


_SHARE = "put source and output on storage that all nodes share, under the same paths"


# -- on the nodes ---------------------------------------------------------------------------------


@dataclass
class _OwnFolder:
    """Where one try of one shard is made."""

    parts: Path
    sync: bool
    finished: Finished | None = None

    def add(self, name: str, finished: Finished) -> None:
        self.finished = finished


def make_shard(task: ShardTask) -> Made:
    """Makes a shard, wherever this runs. Raises `OutputError` where the node sees another source.

    A run that was given up has removed the folder of its tasks, and those that are left of it fail.
    """
    run = _planned(task.job, task.identity, task.hash, task.folder)
    shard = run.plan.shards[task.number]
    home = Path(task.folder) / f"{task.number}-{_here()}"
    try:
        home.mkdir()
    except FileNotFoundError:
        message = f"node {socket.gethostname()} does not see {task.folder}"
        raise OutputError(Problem("ME623", message, help=_SHARE)) from None
    place = _OwnFolder(home, task.sync)
    if task.hash:
        run.check_sources([shard])
    write_shards(
        run.plan, [shard], (), run.source, place, workers=1, memory=task.memory, hash=task.hash
    )
    assert place.finished is not None
    return Made(task.number, str(home), place.finished)


def _here() -> str:
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())
    return f"{host[:60]}-{os.getpid()}-{secrets.token_hex(4)}"


@lru_cache(maxsize=1)
def _planned(job: str, identity: str, hash: bool, run: str) -> Conversion:
    """What is run, made anew from what this node sees; once in a process for each `run`."""
    wanted: Mapping[str, Any] = json.loads(identity)
    here = Job(**json.loads(job))
    try:
        made = plan(here)
        source = SourceFolder(here.folder, here.follow_links)
        same = Conversion.of(made, source, Path(run), overwrite=False, hash=hash)
        now = same.identity
    except MapengineError as error:
        told = error.problems[0]
        message = f"node {socket.gethostname()} cannot plan this run: {told.code} {told.message}"
        raise OutputError(Problem("ME623", message, help=told.help or _SHARE)) from error
    if changed := [name for name in wanted if now.get(name) != wanted[name]]:
        message = f"node {socket.gethostname()} sees something else: {', '.join(changed)} differ"
        raise OutputError(Problem("ME623", message, help=_SHARE))
    return same
