"""The tensors of a plan, made and written by several workers at once."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import xxhash

from mapengine.checkpoints import direct, storage
from mapengine.checkpoints.blame import blamed
from mapengine.checkpoints.direct import DirectFile
from mapengine.checkpoints.gather import Reader
from mapengine.checkpoints.hashing import hashes
from mapengine.checkpoints.journal import Finished
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.place import ShardPlace
from mapengine.checkpoints.sources import SourceFiles
from mapengine.checkpoints.value_checks import check_values
from mapengine.executors import EXECUTORS
from mapengine.formats import FORMATS
from mapengine.planning.budget import BATCH, Budget
from mapengine.planning.left_out import LeftOut
from mapengine.planning.pieces import pieces
from mapengine.planning.plan import Plan, PlannedTensor, Shard
from mapengine.specs import SUFFIXES
from mapengine.views import Lazy

_METADATA = {"format": "pt"}  # what transformers writes, and what some readers insist on


@dataclass(frozen=True, slots=True)
class Done:
    """What of a shard has been written since the last time: bytes, and tensors whole with them."""

    shard: Shard
    nbytes: int
    tensors: int


Progress = Callable[[Done], None]


@dataclass(frozen=True, slots=True)
class _Part:
    tensor: PlannedTensor
    offset: int
    """Where in the file it goes."""
    content: Lazy
    ends: bool
    """Whether the tensor is whole with it."""


class _Target:
    """A file of the output while it is made. Safe to use from several threads."""

    def __init__(self, shard: Shard, run: _Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._left = shard.nbytes
        self._digests: list[tuple[int, int, int]] = []
        self.shard = shard
        self.path = run.place.parts / shard.name
        self.format = FORMATS[SUFFIXES.get(self.path.suffix, "safetensors")]
        specs = shard.specs
        self.offsets = self.format.create(self.path, specs, _METADATA, shard.objects)
        """Where in the file each tensor begins."""
        ends = [at + specs[key].nbytes for key, at in self.offsets.items()]
        dense = bool(ends) and max(ends) - min(self.offsets.values()) == shard.nbytes
        self.direct = DirectFile(self.path) if run.past_cache and dense else None
        """Where it is written past the page cache."""

    def done(self, size: int, digest: tuple[int, int, int] | None = None) -> None:
        """Notes that `size` bytes are in the file; with the last of them it is whole."""
        with self._lock:
            self._left -= size
            if digest:
                self._digests.append(digest)
            if self._left:
                return
        if self.direct:
            self.direct.finish()
        self.format.finish(self.path, self.shard.specs)
        if self._run.place.sync:
            storage.sync_file(self.path)
        self._run.place.add(self.shard.name, self._finished())

    def _finished(self) -> Finished:
        status = self.path.stat()
        sha256 = None
        if self._run.hash:
            ranges = {t.key: (self.offsets[t.key], t.spec.nbytes) for t in self.shard.tensors}
            with storage.open_file(self.path) as file:
                sha256 = hashes(file, ranges)
        digests = sorted(self._digests)
        if digests and sha256 is None:
            digests.insert(0, self._head(digests[0][0]))
        size, mtime, synced = status.st_size, status.st_mtime_ns, self._run.place.sync
        return Finished(self.shard.name, size, mtime, digests, sha256, synced)

    def _head(self, length: int) -> tuple[int, int, int]:
        """The digest of what stands before the tensors: the header, which went past us."""
        room = memoryview(bytearray(length))
        with storage.open_file(self.path) as file:
            storage.read_at(file.fileno(), 0, room)
        return 0, length, xxhash.xxh3_64_intdigest(room)


@dataclass(frozen=True, slots=True)
class _Run:
    """What all files of a run have in common."""

    place: ShardPlace
    past_cache: bool
    hash: bool


@dataclass(frozen=True, slots=True)
class _Task:
    """Parts of one file that lie together; none where the file has no bytes of tensors at all."""

    target: _Target
    parts: list[_Part]

    @property
    def start(self) -> int:
        return self.parts[0].offset

    @property
    def end(self) -> int:
        return self.parts[-1].offset + self.parts[-1].content.spec.nbytes

    @property
    def nbytes(self) -> int:
        return sum(part.content.spec.nbytes for part in self.parts)


def write_shards(
    plan: Plan,
    shards: Sequence[Shard],
    checks: Sequence[LeftOut],
    source: SourceFolder,
    place: ShardPlace,
    *,
    workers: int,
    memory: int,
    hash: bool = False,
    progress: Progress | None = None,
) -> None:
    """Makes shards of a plan, with at most `memory` bytes in all, after its `checks` hold.

    Each is added to the place when it is whole: where that syncs, it is on the disk then. With
    `hash`, the SHA-256 of the files and tensors are noted. Raises as `Reader.write` does.
    """
    share = 2 if source.is_elsewhere else 1  # the other one holds what comes from there
    budget, workers = plan.budget(workers, memory, share)
    past_cache = place.sync and direct.is_possible(place.parts)
    of_all = _Run(place, past_cache, hash)
    run = EXECUTORS["local"]
    contents = (*(t.content for s in shards for t in s.tensors), *(c.differs for c in checks))
    with SourceFiles(source, plan.stored, contents, memory // 2, workers) as files:
        files.check()
        reader = Reader(files.opened, budget)
        check_values(checks, reader, budget, run, workers)
        tasks = files.ahead(_tasks(shards, of_all, budget, workers), _read_by)
        for done in run(lambda task: _write(task, reader, place.sync), tasks, workers):
            if progress and done.nbytes:
                progress(done)
        files.check()


def _read_by(task: _Task) -> Iterator[Lazy]:
    return (part.content for part in task.parts)


def _tasks(shards: Sequence[Shard], of_all: _Run, budget: Budget, workers: int) -> Iterator[_Task]:
    """All that is to be done, as many shards in turn as there are workers.

    The system lets one thread at a time write to a file: so they write to different ones. And on a
    file system in memory it takes longer to reserve a file than to write it: so several threads do.
    """
    for first in range(0, len(shards), workers):
        some = shards[first : first + workers]
        targets = EXECUTORS["local"](lambda shard: _Target(shard, of_all), some, workers)
        streams = [_batches(target, budget) for target in targets]
        for row in itertools.zip_longest(*streams):
            yield from (task for task in row if task)


def _batches(target: _Target, budget: Budget) -> Iterator[_Task]:
    """The parts of a shard, together where they lie together and are small."""
    batch: list[_Part] = []
    start = end = 0
    if not target.shard.nbytes:
        yield _Task(target, [])
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
        for piece in pieces(tensor.content, budget) if tensor.spec.nbytes else ():
            ends = piece.offset + piece.content.spec.nbytes == tensor.spec.nbytes
            yield _Part(tensor, offsets[tensor.key] + piece.offset, piece.content, ends)


def _write(task: _Task, reader: Reader, sync: bool) -> Done:
    digest = None
    if task.target.direct and task.parts:
        digest = _write_directly(task, task.target.direct, reader)
    elif task.parts:
        _write_through_cache(task, reader, sync)
    task.target.done(task.nbytes, digest)
    return Done(task.target.shard, task.nbytes, sum(part.ends for part in task.parts))


def _write_directly(task: _Task, file: DirectFile, reader: Reader) -> tuple[int, int, int]:
    """The range that was written, by its start and length, and the digest of its bytes."""
    start, size = task.start, task.end - task.start
    with reader.gathering(size, start) as room:
        for part in task.parts:
            first = part.offset - start
            with blamed(part.tensor.key, part.tensor.rule):
                reader.make(part.content, room[first : first + part.content.spec.nbytes])
        file.write(start, room.data)
        return start, size, xxhash.xxh3_64_intdigest(room.data)


def _write_through_cache(task: _Task, reader: Reader, sync: bool) -> None:
    target = os.open(task.target.path, os.O_RDWR | os.O_CLOEXEC)  # there may be many: not all now
    try:
        for part in task.parts:
            with blamed(part.tensor.key, part.tensor.rule):
                reader.write(part.content, target, part.offset)
        if sync:
            storage.start_writing(target, task.start, task.end - task.start)
    finally:
        os.close(target)
