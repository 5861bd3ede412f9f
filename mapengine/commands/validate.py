"""`mapengine validate`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapengine.commands.options import FOLLOW_LINKS, JSON, LOCATION, PATH
from mapengine.commands.watching import watch
from mapengine.report.findings import FORMATS, Checked, Findings, github_summary

if TYPE_CHECKING:
    from mapengine.locations import Location


@click.command("validate", epilog="Example: mapengine validate mappings/ --format concise")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("-s", "--source", type=LOCATION, help="Check against its headers too.")
@FOLLOW_LINKS
@click.option("--prove", is_flag=True, help="Take the example forward and back, and compare.")
@click.option("--strict", is_flag=True, help="Notes count as problems.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="full",
    show_default=True,
    help="How the findings are written: for people, for grep, or for a machine.",
)
@click.option(
    "--watch",
    "watching",
    is_flag=True,
    help="Go on, and check again what is saved; Ctrl-C ends it.",
)
@JSON
def command(
    files: Sequence[Path], source: Location | None, follow_links: bool, prove: bool, strict: bool,
    exit_zero: bool, format_: str, watching: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check mapping files: YAML, schema, expressions, patterns, and the plan of their example.

    A folder means the .yaml files in it. Needs neither torch nor the model.
    """
    format_ = "json" if as_json else format_
    check = partial(_check, source=source, follow_links=follow_links, prove=prove, strict=strict)
    if watching:
        if format_ not in ("full", "concise"):
            raise click.UsageError(f"--watch is for people, and --format {format_} is not")
        _watch(files, check, strict, format_)
        return
    checked = [check(file) for file in mapping_files(files)]
    findings = Findings(tuple(checked), strict)
    click.echo(FORMATS[format_](findings), nl=False)
    if format_ == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        with Path(summary).open("a", encoding="utf-8") as page:
            page.write(github_summary(findings))
    raise click.exceptions.Exit(1 if findings.count and not exit_zero else 0)


def _watch(
    files: Sequence[Path], check: Callable[[Path], Checked], strict: bool, format_: str
) -> None:
    """Checks what has changed, and tells what that changes in the plan of its example."""
    from mapengine.errors import MapengineError

    plans: dict[Path, list[str]] = {}

    def tell(changed: list[Path]) -> None:
        for file in changed:
            checked = check(file)
            click.echo(f"-- {file}")
            click.echo(FORMATS[format_](Findings((checked,), strict)), nl=False)
            if not checked.problems:
                with contextlib.suppress(MapengineError):  # saved meanwhile: told the next time
                    _tell_changes(file, plans)
        click.echo("-- watching; Ctrl-C ends it")

    with contextlib.suppress(KeyboardInterrupt):  # the way in which it ends
        watch(lambda: mapping_files(files), tell)


def _tell_changes(file: Path, plans: dict[Path, list[str]]) -> None:
    """What of the plan of a file's example is not as it was when that was last good."""
    from mapengine import api
    from mapengine.report.changes import changed_lines, plan_lines

    mapping = api.load(file)
    if mapping.example is None:
        return
    lines = plan_lines(api.check_example(mapping, api.example_layout(mapping, None)))
    if file in plans:
        changes = changed_lines(plans[file], lines)
        click.echo(
            "\n".join(
                ["the plan of the example:", *changes]
                if changes
                else ["the plan of the example is as before"]
            )
        )
    plans[file] = lines


def _check(
    file: Path, *, source: Location | None, follow_links: bool, prove: bool, strict: bool
) -> Checked:
    """What is found in one file; notes are looked for where they are proven or count."""
    from mapengine import api
    from mapengine.errors import MapengineError

    name = str(file)
    problems = api.validate(name, source, follow_links)
    if problems or not (prove or strict):
        return Checked(name, tuple(problems))
    if not prove:
        return Checked(name, (), tuple(api.notes(name)))
    try:
        proof = api.prove(name)
    except MapengineError as error:
        return Checked(name, error.problems)
    return Checked(name, (), tuple(proof.notes), proof)


def mapping_files(paths: Sequence[Path]) -> list[Path]:
    """The mappings that paths mean: themselves, or what is in the folder."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no .yaml file in {path}")
        files += inside
    return files
