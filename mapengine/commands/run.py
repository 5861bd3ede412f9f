"""`mapengine run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mapengine.commands.options import JSON, PATH, job_options, make_job
from mapengine.commands.output import count, print_json, say
from mapengine.commands.plan import planned, print_notes, print_plan

if TYPE_CHECKING:
    from mapengine.api import Job
    from mapengine.checkpoints.execute import Result
    from mapengine.locations import Location
    from mapengine.planning.plan import Plan


@click.command(
    "run", epilog="Example: mapengine run mappings/NAME.yaml --source CHECKPOINT --output CONVERTED"
)
@job_options
@click.option("-o", "--output", type=PATH, help="The folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace an output that a run has written.")
@click.option(
    "--sync/--no-sync",
    default=True,
    show_default=True,
    help="Have all on the disk before it is published: a power cut then loses nothing.",
)
@click.option("--restart", is_flag=True, help="Discard what an interrupted run has left.")
@click.option(
    "--hash",
    "hash_",
    is_flag=True,
    help="Put the SHA-256 of every tensor and file into the receipt; check those of the source.",
)
@click.option("--dry-run", is_flag=True, help="Plan, say what would be done, and write nothing.")
@click.option("--progress/--no-progress", "bars", default=True, help="Tell how far it is.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
@JSON
def command(
    source: Location | None, output: Path | None, overwrite: bool, sync: bool, restart: bool,
    hash_: bool, dry_run: bool, bars: bool, quiet: bool, as_json: bool, workers: int | None,
    memory: int, **given: Any,
) -> None:  # fmt: skip
    """Convert a checkpoint, or an adapter of one, after checking that everything fits.

    Without --source, the mapping's small example is made and converted. A plan that was saved by
    `plan -o` is run in place of a mapping, unless its source or mapping has changed.
    """
    from mapengine import api
    from mapengine.checkpoints.storage import check_output
    from mapengine.report.progress import progress

    saved = Path(given["mapping"]) if given["mapping"].endswith(".json") else None
    alone = source is None and given["adapter"] is None
    if output is not None:  # before the work of planning
        for folder in {source, given["adapter"]}:
            check_output(output, folder, overwrite)
    elif not dry_run and (saved or not alone):
        raise click.UsageError("--output is missing: the folder to write")
    if dry_run:
        plan = _saved_plan(saved, given)[1] if saved else planned(source, given)
        print_plan(plan, workers, memory, as_json)
        return
    if saved:
        job, plan = _saved_plan(saved, given)
    else:
        if alone:
            overwrite = overwrite or output is None  # an earlier run's example is made anew
            source, output, example = _example(output, given)
            given["values"] = {**example, **given["values"]}
        job = make_job(source, given)
        plan = api.plan(job)
    assert output is not None  # asked for above, or the example's
    print_notes(plan)
    with progress(plan, quiet or not bars) as advance:
        result = api.run(
            job, output, workers=workers, memory=memory, sync=sync, overwrite=overwrite,
            restart=restart, hash=hash_, progress=advance, planned=plan,
        )  # fmt: skip
    if as_json:
        print_json({"format_version": "1.0", **result.to_dict()})
    elif not quiet:
        _print_result(result, plan)


def _print_result(result: Result, plan: Plan) -> None:
    from mapengine.checkpoints.card import lacks_tokenizer
    from mapengine.report.units import size_text

    size = size_text(result.bytes_written)
    say(f"{result.tensors} tensors, {size}, {len(result.files)} files → {result.output}")
    if result.was_finished:
        say("it was finished before; nothing was done", err=True)
    elif result.kept:
        say(f"{count(result.kept, 'shard')} of an interrupted run kept", err=True)
    if plan.card and lacks_tokenizer(plan):
        say("note: there is no tokenizer and no processor: add the model's own", err=True)
    if plan.model:
        say(f"Next: mapengine verify {result.output}", err=True)


def _saved_plan(path: Path, given: dict[str, Any]) -> tuple[Job, Plan]:
    from mapengine import api
    from mapengine.saved import check_saved, read_saved

    _refuse_options(given)
    job, of_run = read_saved(path)
    plan = api.plan(job)
    check_saved(path, job, plan, of_run)
    return job, plan


def _refuse_options(given: dict[str, Any]) -> None:
    """A saved plan holds what decides the output; to change that is to plan again."""
    context = click.get_current_context()
    told = [
        option.opts[-1]
        for option in context.command.params
        if option.name in {"source", *given} - {"mapping"}
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if told:
        raise click.UsageError(f"{', '.join(told)}: not for a saved plan; plan again with it")


def _example(output: Path | None, given: dict[str, Any]) -> tuple[Path, Path, dict[str, Any]]:
    """Makes the mapping's example: its source folder, the output's, and what must be set."""
    from mapengine import api

    if given["reverse"]:
        raise click.UsageError("--source is missing: the folder to take back")
    job = make_job(Path(), given)
    mapping = api.load(job.mapping)
    layout = api.example_layout(mapping, job.chosen)
    home = output or Path(f"{mapping.name}-example")
    source = home / "source" if output is None else home.with_name(f"{home.name}-source")
    settings = api.make_example(mapping, layout, source)
    say(f"the example of {mapping.name} is in {source}", err=True)
    return source, home / "converted" if output is None else home, dict(settings.values)
