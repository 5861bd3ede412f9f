"""`mapengine run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mapengine.commands.options import JSON, LOCATION, PATH, job_options, make_job
from mapengine.commands.output import count, print_json, say
from mapengine.commands.plan import planned, print_notes, print_plan

if TYPE_CHECKING:
    from mapengine.api import Job
    from mapengine.checkpoints.execute import Result
    from mapengine.checkpoints.parts import PartResult
    from mapengine.locations import Location
    from mapengine.planning.plan import Plan


OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Replace an output that a run has written."
)
SYNC = click.option(
    "--sync/--no-sync",
    default=True,
    show_default=True,
    help="Have all on the disk before it is published: a power cut then loses nothing.",
)


@click.command(
    "run", epilog="Example: mapengine run mappings/NAME.yaml --source CHECKPOINT --output CONVERTED"
)
@job_options
@click.option("-o", "--output", type=LOCATION, help="The folder to write, or its URL.")
@click.option("--part", metavar="N/OF", help="Make this part of the shards, for `publish`.")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who makes the shards: threads of this process, or a Ray cluster.",
)
@click.option("--address", help="The Ray cluster.  [default: $RAY_ADDRESS, or one of its own]")
@OVERWRITE
@SYNC
@click.option(
    "--scratch", type=PATH, help="Where files are made that go to a URL.  [default: TMPDIR]"
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
    source: Location | None, output: Location | None, part: str | None, executor: str,
    address: str | None, overwrite: bool, sync: bool, scratch: Path | None, restart: bool,
    hash_: bool, dry_run: bool, bars: bool, quiet: bool, as_json: bool, workers: int | None,
    memory: int, **given: Any,
) -> None:  # fmt: skip
    """Convert a checkpoint, or an adapter of one, after checking that everything fits.

    Without --source, the mapping's small example is made and converted. A plan that was saved by
    `plan -o` is run in place of a mapping, unless its source or mapping has changed. With --part a
    part of the shards is made, by this process among others, and `publish` comes when all are; with
    --executor ray a cluster makes them all.
    """
    from mapengine import api
    from mapengine.parts import run_part
    from mapengine.planning.parts import Part, shards_of
    from mapengine.report.progress import progress

    saved = Path(given["mapping"]) if given["mapping"].endswith(".json") else None
    alone = source is None and given["adapter"] is None
    on: dict[str, Any] = {"executor": executor, "address": address}
    if address is not None and executor == "local":
        raise click.UsageError("--address is for --executor ray")
    if part is not None:
        _check_part(part, output, restart, executor, alone=alone and not saved)
    if output is not None:  # before the work of planning
        _check_output(output, {source, given["adapter"]}, overwrite)
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
    options: dict[str, Any] = {
        "workers": workers, "memory": memory, "sync": sync, "overwrite": overwrite, "hash": hash_,
        "planned": plan,
    }  # fmt: skip
    if part is None:
        with progress(plan.shards, quiet or not bars) as advance:
            result = api.run(
                job, output, restart=restart, scratch=scratch, progress=advance, **on, **options
            )
        _tell(result, lambda: print_result(result, plan), quiet, as_json)
        return
    with progress(shards_of(plan.shards, Part.parse(part)), quiet or not bars) as advance:
        assert isinstance(output, Path)  # so `_check_part` has seen
        made = run_part(job, output, part, progress=advance, **options)
    _tell(made, lambda: _print_part(made), quiet, as_json)


def _check_output(output: Location, sources: set[Location | None], overwrite: bool) -> None:
    from mapengine.checkpoints.storage import check_output, check_url
    from mapengine.locations import URL

    for source in sources:
        if isinstance(output, URL):
            check_url(output, source)
        else:
            check_output(output, source, overwrite)


def _tell(
    result: Result | PartResult, text: Callable[[], None], quiet: bool, as_json: bool
) -> None:
    if as_json:
        print_json({"format_version": "1.0", **result.to_dict()})
    elif not quiet:
        text()


def _check_part(
    part: str, output: Location | None, restart: bool, executor: str, alone: bool
) -> None:
    from mapengine.locations import URL
    from mapengine.planning.parts import Part

    Part.parse(part)
    if isinstance(output, URL):
        raise click.UsageError("--part makes shards in a folder that all parts see, not at a URL")
    if restart:
        help = "without --part it discards what all parts have made"
        raise click.UsageError(f"--restart is not for a part; {help}")
    if executor != "local":
        raise click.UsageError("--part is of the shards, and --executor of them all: take one")
    if alone:
        raise click.UsageError("--source is missing: the folder that all parts read")


def _print_part(result: PartResult) -> None:
    from mapengine.report.units import size_text

    shards, size = count(len(result.shards), "shard"), size_text(result.bytes_written)
    say(f"part {result.part}: {shards}, {size} → {result.output}, not published yet")
    if result.kept:
        say(f"{count(result.kept, 'shard')} of it there before", err=True)
    if result.left:
        say(f"{count(len(result.left), 'shard')} of other parts to come", err=True)
    else:
        say(f"Next: mapengine publish {result.output}", err=True)


def print_result(result: Result, plan: Plan | None = None) -> None:
    from mapengine.report.units import size_text

    size = size_text(result.bytes_written)
    say(f"{result.tensors} tensors, {size}, {len(result.files)} files → {result.output}")
    if result.was_finished:
        say("it was finished before; nothing was done", err=True)
    elif result.kept:
        say(f"{count(result.kept, 'shard')} of an interrupted run kept", err=True)
    if plan is not None:
        _print_next(result, plan)


def _print_next(result: Result, plan: Plan) -> None:
    from mapengine.checkpoints.card import lacks_tokenizer

    if plan.card and lacks_tokenizer(plan):
        say("note: there is no tokenizer and no processor: add the model's own", err=True)
    if plan.model and "://" not in result.output:
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


def _example(output: Location | None, given: dict[str, Any]) -> tuple[Path, Path, dict[str, Any]]:
    """Makes the mapping's example: its source folder, the output's, and what must be set."""
    from mapengine import api
    from mapengine.locations import URL

    if isinstance(output, URL):
        raise click.UsageError("--source is missing: the example is made in a folder")
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
