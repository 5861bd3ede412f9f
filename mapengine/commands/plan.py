"""`mapengine plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapengine.commands.options import JSON, PATH, job_options, make_job
from mapengine.commands.output import print_json, say

if TYPE_CHECKING:
    from mapengine.api import Job
    from mapengine.locations import Location
    from mapengine.planning.plan import Plan


@click.command("plan", epilog="Example: mapengine plan mappings/NAME.yaml --source CHECKPOINT")
@job_options
@click.option("-o", "--output", type=PATH, help="Save it too; `mapengine run FILE` does just that.")
@JSON
def command(
    source: Location | None, output: Path | None, as_json: bool, workers: int | None, memory: int,
    **given: Any,
) -> None:  # fmt: skip
    """Show what a run would do: rules, counts, shapes, bytes, files. Reads headers only.

    Without --source the mapping's example is planned, in its first layout or --layout.
    """
    if output is not None and source is None:
        raise click.UsageError("--source is missing: a saved plan is that of a checkpoint")
    plan = planned(source, given)
    print_plan(plan, workers, memory, as_json)
    if output is not None and source is not None:
        _save(output, make_job(source, given), plan, plan.peak_memory(workers or 1, memory))


def _save(path: Path, job: Job, plan: Plan, working_memory: int) -> None:
    from mapengine.report.plans import plan_dict
    from mapengine.saved import saved_job

    if path.suffix != ".json":
        raise click.UsageError(f"--output {path}: a saved plan is named .json")
    told = {**plan_dict(plan, working_memory), **saved_job(job, plan)}
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    say(f"saved; to do just that: mapengine run {path} --output DIR", err=True)


def planned(source: Location | None, given: dict[str, Any]) -> Plan:
    from mapengine import api

    if source is not None or given["adapter"] is not None:
        return api.plan(make_job(source, given))
    job = make_job(Path(), given)
    mapping = api.load(job.mapping)
    layout = api.example_layout(mapping, job.chosen)
    return api.check_example(mapping, layout, job.settings, job.options)


def print_notes(plan: Plan) -> None:
    from mapengine.errors import on_one_line

    for name, note in plan.notes:
        say(on_one_line(f"note: {name}: {note}", 500), err=True)


def print_plan(plan: Plan, workers: int | None, memory: int, as_json: bool) -> None:
    from mapengine.executors import default_workers
    from mapengine.report.plans import plan_dict, plan_text

    working_memory = plan.peak_memory(workers or default_workers(), memory)
    print_notes(plan)
    if as_json:
        print_json(plan_dict(plan, working_memory))
    else:
        click.echo(plan_text(plan, working_memory))
