"""The commands. The only room that prints or exits; what they do is in `api`.

Results go to stdout, progress and logs to stderr. Heavy rooms are imported inside the commands
that need them, so that the others start in a blink.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapengine import __version__

if TYPE_CHECKING:
    from mapengine.api import Job
    from mapengine.errors import MapengineError, Problem
    from mapengine.planning.plan import Plan

_EXIT_CODES = "Exits with 0 (clean), 1 (findings), 2 (could not run) or 130 (interrupted)."
_DTYPES = click.Choice(["bfloat16", "float16", "float32", "float64"])
_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MAPENGINE"},
    epilog=_EXIT_CODES,
)
@click.version_option(__version__, "-V", "--version", prog_name="mapengine")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
def cli(debug: bool) -> None:
    """Convert model checkpoints by a declarative mapping.

    A mapping is a YAML file; those that ship are known by name too (`mapengine list`).
    """


# -- options that several commands take ---------------------------------------------------------


def _size(context: click.Context, option: click.Parameter, value: str) -> int:
    from mapengine.report.units import parse_size

    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _settings(
    context: click.Context, option: click.Parameter, pairs: Sequence[str]
) -> dict[str, Any]:
    """`name=value` pairs; values are read as in the YAML of a mapping."""
    from mapengine.errors import MapengineError
    from mapengine.language.document import read_document

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
        if name in values:
            raise click.BadParameter(f"{name} is given twice")
        try:
            values[name] = read_document(f"value: {text}", "--set").data["value"]
        except MapengineError as error:
            raise click.BadParameter(f"{pair!r}: {error.problems[0].message}") from None
    return values


_JOB_OPTIONS = (
    click.argument("mapping"),
    click.option("-s", "--source", type=_PATH, help="The checkpoint's folder."),
    click.option("--set", "values", multiple=True, callback=_settings, metavar="NAME=VALUE",
                 help="A config name's value; beats the files. May be given again."),
    click.option("--preset", help="A named set of config values of the mapping."),
    click.option("--reverse", is_flag=True,
                 help="The way back: the folder holds the target, its source is written."),
    click.option("--then", help="A mapping that goes on from there, with no files in between."),
    click.option("--then-reverse", is_flag=True, help="That one backwards."),
    click.option("--layout", help="The layout: of the source, where its files do not tell; "
                                  "or of the side that is written."),
    click.option("--dtype", type=_DTYPES, help="Cast every floating tensor that no rule casts."),
    click.option("--format", "format_", type=click.Choice(["safetensors", "torch"]),
                 help="The format of the files written.  [default: as the mapping says]"),
    click.option("--max-shard-size", default="5GB", show_default=True, callback=_size,
                 help="The most that one file holds; 1GB is 10⁹ bytes."),
    click.option("--memory", default="512MB", show_default=True, callback=_size,
                 help="The most that is allocated, beside the interpreter and its libraries."),
    click.option("--workers", type=click.IntRange(1, 256),
                 help="Threads.  [default: cores + 1, or cores if unsynced]"),
)  # fmt: skip


def _job_options(command: Any) -> Any:
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command


def _job(source: Path, given: dict[str, Any]) -> Job:
    from mapengine.api import Job, load

    return Job(
        load(given["mapping"]), source, given["values"], given["preset"], given["dtype"],
        given["layout"], given["format_"], given["max_shard_size"], given["reverse"],
        given["then"], given["then_reverse"],
    )  # fmt: skip


# -- commands -----------------------------------------------------------------------------------


@cli.command(
    epilog="Example: mapengine run mappings/NAME.yaml --source CHECKPOINT --output CONVERTED"
)
@_job_options
@click.option("-o", "--output", type=_PATH, help="The folder to write.")
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
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
@_JSON
def run(
    source: Path | None, output: Path | None, overwrite: bool, sync: bool, restart: bool,
    hash_: bool, dry_run: bool, quiet: bool, as_json: bool, workers: int | None, memory: int,
    **given: Any,
) -> None:  # fmt: skip
    """Convert a checkpoint, after checking that everything fits.

    Without --source, the mapping's small example is made and converted.
    """
    from mapengine import api
    from mapengine.checkpoints.storage import check_output
    from mapengine.report.progress import progress
    from mapengine.report.units import size_text

    if output is not None:  # before the work of planning
        check_output(output, source, overwrite)
    if dry_run:
        _print_plan(_planned(source, given), workers, memory, as_json)
        return
    if source is None:
        if given["reverse"]:
            raise click.UsageError("--source is missing: the folder to take back")
        overwrite = overwrite or output is None  # an earlier run's example is made anew
        source, output, example = _example(output, given)
        given["values"] = {**example, **given["values"]}
    if output is None:
        raise click.UsageError("--output is missing: the folder to write")
    job = _job(source, given)
    plan = api.plan(job)
    _print_notes(plan)
    with progress(plan.bytes_written, quiet) as advance:
        result = api.run(
            job, output, workers=workers, memory=memory, sync=sync, overwrite=overwrite,
            restart=restart, hash=hash_, progress=advance, planned=plan,
        )  # fmt: skip
    if as_json:
        _print_json({"format_version": "1.0", **result.to_dict()})
    elif not quiet:
        size = size_text(result.bytes_written)
        click.echo(f"{result.tensors} tensors, {size}, {len(result.files)} files → {output}")
        if result.was_finished:
            click.echo("it was finished before; nothing was done", err=True)
        elif result.kept:
            click.echo(f"{_count(result.kept, 'shard')} of an interrupted run kept", err=True)
        if plan.binding.write.model:
            click.echo(f"Next: mapengine verify {output}", err=True)


def _example(output: Path | None, given: dict[str, Any]) -> tuple[Path, Path, dict[str, Any]]:
    """Makes the mapping's example: its source folder, the output's, and what must be set."""
    from mapengine import api

    job = _job(Path(), given)
    mapping = api.load(job.mapping)
    layout = api.example_layout(mapping, job.chosen)
    home = output or Path(f"{mapping.name}-example")
    source = home / "source" if output is None else home.with_name(f"{home.name}-source")
    settings = api.make_example(mapping, layout, source)
    click.echo(f"the example of {mapping.name} is in {source}", err=True)
    return source, home / "converted" if output is None else home, dict(settings.values)


@cli.command(epilog="Example: mapengine plan mappings/NAME.yaml --source CHECKPOINT")
@_job_options
@_JSON
def plan(
    source: Path | None, as_json: bool, workers: int | None, memory: int, **given: Any
) -> None:
    """Show what a run would do: rules, counts, shapes, bytes, files. Reads headers only.

    Without --source the mapping's example is planned, in its first layout or --layout.
    """
    _print_plan(_planned(source, given), workers, memory, as_json)


def _planned(source: Path | None, given: dict[str, Any]) -> Plan:
    from mapengine import api

    if source is not None:
        return api.plan(_job(source, given))
    job = _job(Path(), given)
    mapping = api.load(job.mapping)
    layout = api.example_layout(mapping, job.chosen)
    return api.check_example(mapping, layout, job.settings, job.options)


def _print_notes(plan: Plan) -> None:
    for name, note in plan.notes:
        click.echo(f"note: {name}: {note}", err=True)


def _print_plan(plan: Plan, workers: int | None, memory: int, as_json: bool) -> None:
    from mapengine.executors import default_workers
    from mapengine.report.plans import plan_dict, plan_text

    working_memory = plan.peak_memory(workers or default_workers(), memory)
    _print_notes(plan)
    if as_json:
        _print_json(plan_dict(plan, working_memory))
    else:
        click.echo(plan_text(plan, working_memory))


@cli.command(epilog="Example: mapengine validate mappings/")
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option("-s", "--source", type=_PATH, help="Check against its headers too.")
@click.option("--prove", is_flag=True, help="Take the example forward and back, and compare.")
@_JSON
def validate(files: Sequence[Path], source: Path | None, prove: bool, as_json: bool) -> None:
    """Check mapping files: YAML, schema, expressions, patterns, and the plan of their example.

    A folder means the .yaml files in it. Needs neither torch nor the model.
    """
    from mapengine import api
    from mapengine.errors import MapengineError

    found: dict[str, list[Problem]] = {}
    proofs: dict[str, api.Proof] = {}
    for file in map(str, _mapping_files(files)):
        found[file] = api.validate(file, source)
        if prove and not found[file]:
            try:
                proofs[file] = api.prove(file)
            except MapengineError as error:
                found[file] = list(error.problems)
    problems = [problem for one in found.values() for problem in one]
    if as_json:
        from mapengine.report.problems import problem_dict
        from mapengine.report.proofs import proof_dict

        listed = [
            {
                "file": file,
                "problems": [problem_dict(problem) for problem in listed],
                "proof": proof_dict(proofs[file]) if file in proofs else None,
            }
            for file, listed in found.items()
        ]
        _print_json({"format_version": "1.0", "files": listed, "problems": len(problems)})
    else:
        for file, proof in proofs.items():
            from mapengine.report.proofs import proof_text

            click.echo(proof_text(file, proof))
        _print_problems(problems, err=False)
        bad = sum(bool(one) for one in found.values())
        click.echo(
            f"{_count(len(problems), 'problem')} in {bad} of {_count(len(found), 'file')}"
            if problems
            else f"{_count(len(found), 'mapping')} good"
        )
    raise click.exceptions.Exit(1 if problems else 0)


def _mapping_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no .yaml file in {path}")
        files += inside
    return files


@cli.command(epilog="Example: mapengine inspect CHECKPOINT")
@click.argument("folder", type=_PATH)
@_JSON
def inspect(folder: Path, as_json: bool) -> None:
    """Show what a checkpoint holds, from its headers."""
    from mapengine.checkpoints.inspection import inspect as look
    from mapengine.report.checkpoints import inspection_text

    seen = look(folder)
    if as_json:
        _print_json({"format_version": "1.0", **seen.to_dict()})
    else:
        click.echo(inspection_text(seen))
        _print_problems(seen.problems, err=False)
    raise click.exceptions.Exit(1 if seen.problems else 0)


@cli.command(epilog="Example: mapengine verify CONVERTED")
@click.argument("folder", type=_PATH)
@click.option("--load/--no-load", default=True, help="Ask from_pretrained for its load report.")
@_JSON
def verify(folder: Path, load: bool, as_json: bool) -> None:
    """Check a converted checkpoint: its files against one another, and against the model class."""
    from mapengine.report.checkpoints import check_dict, checks_text
    from mapengine.verification import verify as run_checks

    checks = run_checks(folder, load=load)
    if as_json:
        _print_json({"format_version": "1.0", "checks": [check_dict(check) for check in checks]})
    else:
        click.echo(checks_text(checks))
    raise click.exceptions.Exit(1 if any(check.findings for check in checks) else 0)


@cli.command("list")
@_JSON
def list_mappings(as_json: bool) -> None:
    """List the mappings that ship."""
    from mapengine.api import load, shipped_mappings

    shipped = {name: load(path) for name, path in shipped_mappings().items()}
    if as_json:
        listed = [
            {"name": n, "title": m.title, "file": m.document.file} for n, m in shipped.items()
        ]
        _print_json({"format_version": "1.0", "mappings": listed})
    else:
        width = max(map(len, shipped), default=0)
        for name, mapping in shipped.items():
            click.echo(f"{name.ljust(width)}  {mapping.title}")


@cli.command()
@click.option("-o", "--output", type=_PATH, help="Write it to a file.")
@click.option("--check", type=_PATH, help="Exit with 1 unless this file is it.")
def schema(output: Path | None, check: Path | None) -> None:
    """Print the JSON Schema of mapping files, for editors and CI."""
    from mapengine.language.schema import schema_text

    if check is not None:
        fresh = check.is_file() and check.read_bytes() == schema_text().encode()
        click.echo(f"{check} is {'fresh' if fresh else 'not what `mapengine schema` prints'}")
        raise click.exceptions.Exit(0 if fresh else 1)
    if output is not None:
        output.write_text(schema_text(), encoding="utf-8")
    else:
        click.echo(schema_text(), nl=False)


# -- the way out --------------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    for part in json.JSONEncoder(indent=2).iterencode(value):
        sys.stdout.write(part)
    click.echo()


def _print_problems(problems: Sequence[Problem], err: bool) -> None:
    from mapengine.report.problems import problem_text

    for problem in problems:
        click.echo(problem_text(problem), err=err)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _fail(error: MapengineError) -> int:
    if "--json" in sys.argv:
        from mapengine.report.problems import problem_dict

        _print_json(
            {"format_version": "1.0", "problems": [problem_dict(p) for p in error.problems]}
        )
    else:
        _print_problems(error.problems, err=True)
    return error.exit_code


def main() -> None:
    """The console script: runs a command and exits with what it came to.

    At once, for the interpreter would take a twentieth of a second to clear its memory.
    """
    status = invoke()
    try:
        sys.stdout.flush()
    except OSError as error:
        click.echo(f"stdout: {error.strerror}", err=True)
        status = 2
    sys.stderr.flush()
    os._exit(status)


class _Terminated(BaseException):
    """SIGTERM or SIGHUP, raised so that what is half done is cleared away."""

    def __init__(self, number: int) -> None:
        self.number = number


def _terminate(number: int, frame: object) -> None:
    raise _Terminated(number)


def _stopped(how: str, error: BaseException) -> str:
    """What became of the run, with what was noted on the way out."""
    cause = error.__context__ if isinstance(error, click.Abort) else error
    return "; ".join([how, *getattr(cause, "__notes__", ["nothing is left behind"])])


def invoke() -> int:
    """Runs the command that `sys.argv` names; its exit status."""
    from mapengine.errors import MapengineError

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    gc.set_threshold(100_000)  # a plan is many small values, without a cycle among them
    try:
        return int(cli.main(standalone_mode=False) or 0)
    except (KeyboardInterrupt, click.Abort) as error:
        click.echo(_stopped("interrupted", error), err=True)
        return 128 + signal.SIGINT
    except _Terminated as error:
        click.echo(_stopped("terminated", error), err=True)
        return 128 + error.number
    except click.ClickException as error:
        error.show()
        return 2
    except MapengineError as error:
        return _fail(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        click.echo(f"{error.filename or 'mapengine'}: {error.strerror or error}", err=True)
        return 2
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        kind = type(error).__name__
        click.echo(
            f"internal error: {kind}: {error} (--debug shows where; please report it)", err=True
        )
        return 2
