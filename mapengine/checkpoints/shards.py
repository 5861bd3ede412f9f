"""The tensors of a plan, made and written by several workers at once."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapengine.checkpoints import direct, storage
from mapengine.checkpoints.direct import DirectFile
from mapengine.checkpoints.gather import Reader
from mapengine.checkpoints.sources import SourceFiles
from mapengine.errors import OpError, PlanError, Problem
from mapengine.executors import EXECUTORS
from mapengine.formats import FORMATS, Format
from mapengine.planning.budget import BATCH, Budget
from mapengine.planning.pieces import pieces
from mapengine.planning.plan import Plan, PlannedTensor, Shard
from mapengine.specs import SUFFIXES
from mapengine.views import Lazy

_METADATA = {"format": "pt"}  # what transformers writes, and what some readers insist on
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Part:
    tensor: PlannedTensor
    offset: int
    """Where in the file it goes."""
    content: Lazy


@dataclass(frozen=True, slots=True)
class _Target:
    shard: Shard
    path: Path
    offsets: Mapping[str, int]
    format: Format
    direct: DirectFile | None
    """Where it is written past the page cache."""


@dataclass(frozen=True, slots=True)
class _Task:
    target: _Target
    parts: list[_Part]

    @property
    def start(self) -> int:
        return self.parts[0].offset

    @property
    def end(self) -> int:
        return self.parts[-1].offset + self.parts[-1].content.spec.nbytes


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
    budget, workers = plan.budget(workers, memory)
    run = EXECUTORS["local"]
    with SourceFiles(source, plan.stored) as files:
        files.check()
        reader = Reader(files.opened, budget)
        past_cache = sync and direct.is_possible(folder)

        def create(shard: Shard) -> _Target:  # on a tmpfs, reserving takes longer than writing
            return _target(shard, folder, past_cache)

        targets = list(run(create, plan.shards, workers))
        tasks = _tasks(targets, budget, workers)
        for done in run(lambda task: _write(task, reader, sync), tasks, workers):
            if progress:
                progress(done)

    def finish(target: _Target) -> None:
        if target.direct:
            target.direct.finish()
        target.format.finish(target.path, target.shard.specs)
        if sync:
            storage.sync_file(target.path)

    for _ in run(finish, targets, workers):
        pass


def _target(shard: Shard, folder: Path, past_cache: bool) -> _Target:
    path, specs = folder / shard.name, shard.specs
    format = FORMATS[SUFFIXES.get(path.suffix, "safetensors")]
    offsets = format.create(path, specs, _METADATA, shard.objects)
    ends = [at + specs[key].nbytes for key, at in offsets.items()]
    in_one = bool(ends) and max(ends) - min(offsets.values()) == shard.nbytes
    return _Target(
        shard, path, offsets, format, DirectFile(path) if past_cache and in_one else None
    )


def _tasks(targets: Sequence[_Target], budget: Budget, workers: int) -> Iterator[_Task]:
    """All that is to be done, as many shards in turn as there are workers.

    The system lets one thread at a time write to a file: so they write to different ones.
    """
    for first in range(0, len(targets), workers):
        streams = (_batches(target, budget) for target in targets[first : first + workers])
        for row in itertools.zip_longest(*streams):
            yield from (task for task in row if task)


def _batches(target: _Target, budget: Budget) -> Iterator[_Task]:
    """The parts of a shard, together where they lie together and are small."""
    batch: list[_Part] = []
    start = end = 0
    for part in _parts(target, budget):
        size = part.content.spec.nbytes
        apart = target.direct and part.offset != end
        if batch and (apart or part.offset + size - start > BATCH):
            yield _Task(target, batch)
            batch = []
        if not batch:
            start = part.offset
        batch.append(part)
        end = part.offset + size
    if batch:
        yield _Task(target, batch)


def _parts(target: _Target, budget: Budget) -> Iterator[_Part]:
    """The pieces of a shard in the order in which they lie in it."""
    offsets = target.offsets
    for tensor in sorted(target.shard.tensors, key=lambda tensor: offsets[tensor.key]):
        for piece in pieces(tensor.content, budget):
            yield _Part(tensor, offsets[tensor.key] + piece.offset, piece.content)


def _write(task: _Task, reader: Reader, sync: bool) -> int:
    if task.target.direct:
        _write_directly(task, task.target.direct, reader)
    else:
        _write_through_cache(task, reader, sync)
    return sum(part.content.spec.nbytes for part in task.parts)


def _write_directly(task: _Task, file: DirectFile, reader: Reader) -> None:
    start = task.start
    with reader.gathering(task.end - start, start) as room:
        for part in task.parts:
            first = part.offset - start
            with _blamed(part.tensor):
                reader.make(part.content, room[first : first + part.content.spec.nbytes])
        file.write(start, room.data)


def _write_through_cache(task: _Task, reader: Reader, sync: bool) -> None:
    target = os.open(task.target.path, os.O_RDWR | os.O_CLOEXEC)  # there may be many: not all now
    try:
        for part in task.parts:
            with _blamed(part.tensor):
                reader.write(part.content, target, part.offset)
        if sync:
            storage.start_writing(target, task.start, task.end - task.start)
    finally:
        os.close(target)


@contextlib.contextmanager
def _blamed(tensor: PlannedTensor) -> Iterator[None]:
    """Says of an op that fails, which tensor of which rule it failed for."""
    try:
        yield
    except OpError as error:
        rule = tensor.rule
        problem = error.at(rule.where, rule.path)
        message = f"{tensor.key}: {problem.message}"
        raise PlanError(Problem(problem.code, message, rule.where, rule.path, error.help)) from None
