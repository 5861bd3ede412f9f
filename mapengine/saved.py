"""A plan in a file: looked at before it is run, and run only if nothing has changed since.

It is what `plan --json` shows, with the job that it is the plan of and the identity of what would
be written. A run makes the plan anew from the headers and compares, so that nothing in the file is
believed but what to ask for.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from mapengine.api import Job, load
from mapengine.errors import CheckpointError, PlanError, Problem
from mapengine.locations import URL, Location, location
from mapengine.planning.plan import Plan

FORMAT_VERSION = "1.0"
_PATHS = ("mapping", "source", "then", "adapter")


def saved_job(job: Job, plan: Plan) -> dict[str, Any]:
    """What a saved plan says beside the plan. Paths are absolute: it may be run from elsewhere."""
    from mapengine.checkpoints.identity import identity, times
    from mapengine.checkpoints.links import SourceFolder

    source = SourceFolder(job.folder, job.follow_links)
    of_run = {**identity(plan, source, hash=False), **times(plan, source)}
    return {"job": _job_dict(job), "identity": of_run}


def _job_dict(job: Job) -> dict[str, Any]:
    told = {field.name: getattr(job, field.name) for field in fields(job)}
    for name in ("mapping", "then"):
        if told[name] is not None:
            told[name] = load(told[name]).document.file
    paths = {n: _whole(told[n]) for n in _PATHS if told[n] is not None}
    told["select"] = list(told["select"])
    return {**told, **paths, "values": dict(told["values"] or {})}


def _whole(place: str | Location) -> str:
    """A place as it is told from anywhere; of a revision of the Hub, its commit."""
    place = location(place)
    if isinstance(place, URL):
        from mapengine.checkpoints.remote import connect

        return str(connect(place).pinned)
    return str(place.absolute())


def read_saved(path: Path) -> tuple[Job, dict[str, str]]:
    """The job of a saved plan, and the identity it had. Raises `CheckpointError`, `PlanError`."""
    from mapengine.checkpoints.folder import read_json

    told = read_json(path)
    job, of_run = (
        told.get(word) if isinstance(told, dict) else None for word in ("job", "identity")
    )
    known = {field.name: field.type for field in fields(Job)}
    if not isinstance(job, dict) or not isinstance(of_run, dict) or not {*job} <= {*known}:
        raise CheckpointError(_no_plan(path, "it has no job and identity that are known here"))
    wrong = [name for name, value in job.items() if not _fits(value, str(known[name]))]
    if wrong or {*known} - {*job}:
        name = min(wrong or {*known} - {*job})
        raise CheckpointError(_no_plan(path, f"its job has no good {name}"))
    return Job(**job), of_run


def check_saved(path: Path, job: Job, plan: Plan, of_run: dict[str, str]) -> None:
    """Raises `PlanError` where what `plan` would do is not what was saved, and says in what."""
    now = saved_job(job, plan)["identity"]
    changed = [name for name in now if now[name] != of_run.get(name)]
    if changed:
        verb = "has" if len(changed) == 1 and "times" not in changed[0] else "have"
        message = f"{path} is out of date: {', '.join(changed)} {verb} changed since it was made"
        raise PlanError(Problem("ME618", message, help="look at it again: `mapengine plan -o`"))


def _fits(value: Any, kinds: str) -> bool:
    """Whether a value from JSON is of a field's kind, by the words of its annotation."""
    if value is None:
        return "None" in kinds
    if isinstance(value, bool):
        return kinds == "bool"
    if isinstance(value, int):
        return kinds == "int"
    if isinstance(value, list):
        return "Sequence" in kinds and all(isinstance(one, str) for one in value)
    if isinstance(value, dict):
        return "AnyMapping" in kinds
    return isinstance(value, str) and ("str" in kinds or "PathLike" in kinds)


def _no_plan(path: Path, why: str) -> Problem:
    return Problem("ME619", f"{path} is no saved plan: {why}", help="`mapengine plan -o` makes one")
