"""One part of a plan made by itself, and the output published when all parts are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mapengine.checkpoints.beside import write_beside
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.execute import Result, result
from mapengine.checkpoints.hashing import still_there, still_whole
from mapengine.checkpoints.inspection import read_folder
from mapengine.checkpoints.journal import Finished
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.part_place import PartPlace, part_place
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.checkpoints.workspace import JOB, place_of, workspace
from mapengine.errors import OutputError, Problem
from mapengine.executors import default_workers
from mapengine.locations import Location
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.parts import Part, part_numbers, shards_of
from mapengine.planning.plan import Plan, Shard
from mapengine.specs import RECEIPT

_SHOWN = 5
"""Missing files that are named, before the rest is counted."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """What a part has come to. Sizes are in bytes."""

    output: str
    part: str
    shards: list[str]
    """Those of this part."""
    bytes_written: int
    kept: int
    """Those of them that were there before."""
    left: list[str]
    """Shards of other parts that are not there yet."""
    was_finished: bool = False
    """Whether the output has been published, so that nothing was left to do."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_part(
    plan: Plan,
    source: Location,
    output: Path,
    part: Part,
    job: Mapping[str, Any],
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    hash: bool = False,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> PartResult:
    """Makes the shards of one part, beside the output, and publishes nothing.

    Other parts may be made at the same time, on any machine that has the folder of the output.
    `job` is put there, for `publish_parts`. Else as `run_plan`.
    """
    folder = SourceFolder(source, follow_links)
    run = Conversion.of(plan, folder, output, overwrite, hash)
    shards = shards_of(plan.shards, part)
    told = PartResult(str(output), str(part), [one.name for one in shards], _nbytes(shards), 0, [])
    with run.failing_clearly():
        run.check_output()
        if run.finished():
            return replace(told, kept=len(shards), was_finished=True)
        with part_place(
            output, part, {*told.shards}, run.identity, {**job, "hash": hash, "parts": part.of},
            whole=still_whole, sync=sync,
        ) as place:  # fmt: skip
            if run.finished():  # published meanwhile
                return replace(told, kept=len(shards), was_finished=True)
            run.check_free()
            _make(run, shards, part, place, workers or default_workers(sync), memory, progress)
            there = place.finished()
            left = [shard.name for shard in plan.shards if shard.name not in there]
            return replace(told, kept=len(place.kept), left=left)


def _make(
    run: Conversion, shards: Sequence[Shard], part: Part, place: PartPlace, workers: int,
    memory: int, progress: Progress | None,
) -> None:  # fmt: skip
    """Makes those shards that `place` has not. Checks of the source are shared by the parts."""
    left = [shard for shard in shards if shard.name not in place.kept]
    run.check_room(left)
    if run.hash:
        run.check_sources(left)
    for shard in shards:
        if progress and shard.name in place.kept:
            progress(Done(shard, shard.nbytes, len(shard.tensors)))
    write_shards(
        run.plan, left, run.plan.checks[part.number - 1 :: part.of], run.source, place,
        workers=workers, memory=memory, hash=run.hash, progress=progress,
    )  # fmt: skip


def publish_parts(
    plan: Plan,
    source: Location,
    output: Path,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    hash: bool = False,
    follow_links: bool = False,
    parts: int = 1,
) -> Result:
    """Publishes an output whose `parts` have been made. `hash` as they have it.

    Raises `OutputError` where a shard is missing, and names it, and as `run_plan` does.
    """
    folder = SourceFolder(source, follow_links)
    run = Conversion.of(plan, folder, output, overwrite, hash)
    with run.failing_clearly():
        run.check_output()
        with workspace(
            output, run.identity, whole=_still_published, overwrite=overwrite, sync=sync
        ) as place:
            if files := run.finished():
                return replace(result(plan, output, files, len(plan.shards)), was_finished=True)
            run.check_free()
            _check_all_there(run, place.kept, parts)
            run.check_room((), plan.companions)
            if hash:  # what no part has read
                run.check_sources(plan.shards, others=True)
            write_shards(  # none; but whatever must hold of the source does
                plan, (), plan.checks, folder, place, workers=workers or default_workers(sync),
                memory=memory,
            )  # fmt: skip
            files = write_beside(plan, folder, place, run.of_run, hash)
            place.publish()
            return result(plan, output, files, len(place.kept))


def _still_published(folder: Path, files: Sequence[Finished]) -> Iterable[Finished]:
    """What is whole of what parts have made: all its bytes are read where it was not synced."""
    synced = [one for one in files if one.synced]
    yield from still_there(folder, synced)
    yield from still_whole(folder, [one for one in files if not one.synced])


def _check_all_there(run: Conversion, kept: Mapping[str, Finished], parts: int) -> None:
    shards = run.plan.shards
    missing = [shard.name for shard in shards if shard.name not in kept]
    if not missing:
        return
    shown = ", ".join(missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    message = f"{len(missing)} of {len(shards)} shards of {run.output} are missing: {shown}{more}"
    of = part_numbers(shards, parts)
    numbers = sorted({of[name] for name in missing})
    words = f"mapengine run {place_of(run.output) / JOB} --output {run.output}"
    words += f"{' --hash' * run.hash} --part {numbers[0]}/{parts}"
    others = f", and so do parts {', '.join(map(str, numbers[1:]))}" if numbers[1:] else ""
    help = f"`{words}` makes what is missing of that part{others}"
    raise OutputError(Problem("ME620", message, help=help))


def published(output: Path) -> Result | None:
    """What stands at `output`, where a run has published it and has nothing left to do."""
    if not (output / RECEIPT).is_file():
        return None
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    specs = [t.spec for file in read_folder(output).files.values() for t in file.tensors.values()]
    nbytes = sum(spec.nbytes for spec in specs)
    return Result(str(output), files, len(specs), 0, nbytes, was_finished=True)


def _nbytes(shards: Sequence[Shard]) -> int:
    return sum(shard.nbytes for shard in shards)
