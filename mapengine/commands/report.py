"""`mapengine report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapengine.commands.options import PATH, make_job, model_options
from mapengine.commands.output import count

if TYPE_CHECKING:
    from mapengine.errors import Problem
    from mapengine.locations import Location
    from mapengine.planning.survey import Survey


@click.command(
    "report", epilog="Example: mapengine report mappings/NAME.yaml -s CHECKPOINT -o report.html"
)
@model_options
@click.option("-o", "--output", type=PATH, default="report.html", show_default=True,
              help="The page to write.")  # fmt: skip
def command(
    source: Location | None, output: Path, workers: int | None, memory: int, **given: Any
) -> None:
    """Draw a mapping on a checkpoint: one page with rules, tensors, configs, coverage, notes.

    Reads headers only, and needs no network, nor does the page. Without --source it is of the
    mapping's example. Where there is no plan the page says why, and the exit code is 1.
    """
    if output.is_dir():
        raise click.UsageError(
            f"--output {output} is a folder: name the page, {output}/report.html"
        )
    from mapengine.executors import default_workers
    from mapengine.report.page.building import page_html

    surveys = surveyed(source, given)
    plan, notes = surveys[-1].plan, [note for one in surveys for note in _notes(one)]
    peak = plan.peak_memory(workers or default_workers(), memory) if plan else None
    output.write_text(page_html(surveys, notes, peak), encoding="utf-8")
    problems = sum(len(one.problems) for one in surveys)
    rules = sum(len(one.by_rule) for one in surveys)
    told = f", {count(problems, 'problem')}" if problems else ""
    click.echo(f"{count(rules, 'rule')}{told} → {output}", err=True)
    raise click.exceptions.Exit(1 if problems else 0)


def _notes(survey: Survey) -> Sequence[Problem]:
    """What is worth knowing of a mapping; that it has no example, or one that goes wrong, is."""
    from mapengine import api
    from mapengine.errors import MapengineError

    try:
        return api.prove(survey.binding.mapping).notes
    except MapengineError as error:
        return error.problems


def surveyed(source: Location | None, given: dict[str, Any]) -> list[Survey]:
    """What the options of a job ask for, as far as it goes."""
    from mapengine import api

    if source is not None:
        return api.survey(make_job(source, given))
    return api.survey_example(make_job(Path(), given))
