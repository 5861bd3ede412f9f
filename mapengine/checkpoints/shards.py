"""The tensors of a plan, made and written by several workers at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mapengine.checkpoints import storage
from mapengine.checkpoints.gather import Reader
from mapengine.checkpoints.sources import SourceFiles
from mapengine.errors import OpError, PlanError, Problem
from mapengine.executors import EXECUTORS
from mapengine.formats import FORMATS
from mapengine.planning.budget import Budget
from mapengine.planning.pieces import Piece, pieces
from mapengine.planning.plan import Plan, PlannedTensor, Shard

_METADATA = {"format": "pt"}  # what transformers writes, and what some readers insist on
BATCH = 4 * 2**20
"""Bytes of a task: small tensors are done together, for each task costs a little by itself."""
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Part:
    tensor: PlannedTensor
    piece: Piece
    offset: int


@dataclass(frozen=True, slots=True)
class _Task:
    target: Path
    parts: list[_Part]


def write_shards(
    plan: Plan,
    source: Path,
    folder: Path,
    *,
    workers: int,
    memory: int,
    sync: bool,
    progress: Progress | None = None,
) -> None:
    """Writes every shard of a plan into `folder`, with at most `memory` bytes for all workers.

    With `sync`, the files are on the disk at the end. Raises as `Reader.write` does.
    """
    format = FORMATS[plan.format]
    budget, workers = plan.budget(workers, memory)
    run = EXECUTORS["local"]
    contents = plan.binding.names.inventory.files
    with SourceFiles(source, {name: contents[name] for name in plan.source_files}) as files:
        files.check()
        reader = Reader(files.opened, budget)
        offsets = {
            shard.name: format.create(folder / shard.name, shard.specs, _METADATA)
            for shard in plan.shards
        }
        tasks = _tasks(plan, folder, offsets, budget, workers)
        for done in run(lambda task: _write(task, reader, sync), tasks, workers):
            if progress:
                progress(done)

    def finish(shard: Shard) -> None:
        format.finish(folder / shard.name, shard.specs)
        if sync:
            storage.sync_file(folder / shard.name)

    for _ in run(finish, plan.shards, workers):
        pass


def _tasks(
    plan: Plan,
    folder: Path,
    offsets: Mapping[str, Mapping[str, int]],
    budget: Budget,
    workers: int,
) -> Iterator[_Task]:
    """All that is to be done, as many shards in turn as there are workers.

    The system lets one thread at a time write to a file: so they write to different ones.
    """
    for first in range(0, len(plan.shards), workers):
        streams = (
            _batches(folder / shard.name, _parts(shard, offsets[shard.name], budget))
            for shard in plan.shards[first : first + workers]
        )
        for row in itertools.zip_longest(*streams):
            yield from (task for task in row if task)


def _parts(shard: Shard, offsets: Mapping[str, int], budget: Budget) -> Iterator[_Part]:
    """The pieces of a shard in the order in which they lie in it."""
    for tensor in sorted(shard.tensors, key=lambda tensor: offsets[tensor.key]):
        for piece in pieces(tensor.content, budget):
            yield _Part(tensor, piece, offsets[tensor.key])


def _batches(target: Path, parts: Iterator[_Part]) -> Iterator[_Task]:
    batch: list[_Part] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += part.piece.content.spec.nbytes
        if size >= BATCH:
            yield _Task(target, batch)
            batch, size = [], 0
    if batch:
        yield _Task(target, batch)


def _write(task: _Task, reader: Reader, sync: bool) -> int:
    target = os.open(task.target, os.O_RDWR | os.O_CLOEXEC)  # not all at once: there may be many
    try:
        for part in task.parts:
            _write_part(part, reader, target)
        if sync:
            places = [part.offset + part.piece.offset for part in task.parts]
            end = places[-1] + task.parts[-1].piece.content.spec.nbytes
            storage.start_writing(target, places[0], end - places[0])
    finally:
        os.close(target)
    return sum(part.piece.content.spec.nbytes for part in task.parts)


def _write_part(part: _Part, reader: Reader, target: int) -> None:
    try:
        reader.write(part.piece, target, part.offset)
    except OpError as error:
        rule = part.tensor.rule
        problem = error.at(rule.where, rule.path)
        message = f"{part.tensor.key}: {problem.message}"
        raise PlanError(Problem(problem.code, message, rule.where, rule.path, error.help)) from None
