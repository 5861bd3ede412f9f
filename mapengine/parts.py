"""The verbs for an output that several processes make: a part of it, and publishing it."""

from __future__ import annotations

from pathlib import Path

from mapengine.api import Job, plan
from mapengine.checkpoints import parts
from mapengine.checkpoints.execute import Result
from mapengine.checkpoints.folder import read_json
from mapengine.checkpoints.parts import PartResult
from mapengine.checkpoints.shards import Progress
from mapengine.checkpoints.workspace import JOB, place_of
from mapengine.errors import OutputError, Problem
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.parts import Part
from mapengine.planning.plan import Plan
from mapengine.saved import read_saved, saved_job


def run_part(
    job: Job,
    output: str | Path,
    part: Part | str,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    hash: bool = False,
    progress: Progress | None = None,
    planned: Plan | None = None,
) -> PartResult:
    """Makes the shards of one part, `2/8` say, and publishes nothing: `publish` does.

    The parts may be made in any order, at the same time, by all machines that have both folders.
    Raises `MapengineError`.
    """
    part = Part.parse(part) if isinstance(part, str) else part
    planned = planned or plan(job)
    return parts.run_part(
        planned,
        job.folder,
        Path(output),
        part,
        saved_job(job, planned),
        workers=workers,
        memory=memory,
        sync=sync,
        overwrite=overwrite,
        hash=hash,
        follow_links=job.follow_links,
        progress=progress,
    )


def publish(
    output: str | Path,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
) -> Result:
    """Publishes an output all of whose parts have been made. Raises `MapengineError`.

    What they were made of must still be there: it is planned anew, and compared.
    """
    output = Path(output)
    agreed = place_of(output) / JOB
    if not agreed.is_file():
        if result := parts.published(output):
            return result
        message = f"no part of {output} has been made"
        help = "`mapengine run MAPPING --source DIR --output DIR --part 1/8` makes one of eight"
        raise OutputError(Problem("ME621", message, help=help))
    job, _ = read_saved(agreed)
    told = read_json(agreed)
    count = told.get("parts")
    return parts.publish_parts(
        plan(job),
        job.folder,
        output,
        workers=workers,
        memory=memory,
        sync=sync,
        overwrite=overwrite,
        hash=told.get("hash") is True,
        follow_links=job.follow_links,
        parts=count if isinstance(count, int) and count > 0 else 1,
    )
