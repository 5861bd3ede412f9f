"""`mapengine init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapengine.commands.options import JSON, PATH
from mapengine.commands.output import count, print_json

if TYPE_CHECKING:
    from mapengine.inference.init import Drafted

_SHOWN = 20


@click.command("init", epilog="Example: mapengine init -s ORIGINAL --model CLASS")
@click.option("-s", "--source", type=PATH, required=True, help="The checkpoint to convert.")
@click.option(
    "-t",
    "--target",
    type=PATH,
    help="A checkpoint of the form that is wanted, or its config.json alone.",
)
@click.option("--model", help="Or a model class of transformers.")
@click.option("-o", "--output", type=PATH, help="Where the draft goes.  [default: stdout]")
@JSON
def command(
    source: Path, target: Path | None, model: str | None, output: Path | None, as_json: bool
) -> None:
    """Draft a mapping from headers alone, as a start for whoever writes it.

    Keys are paired by shape, count and name, and ops proposed where shapes ask for them. Beside
    each rule stands how sure it is; what remains on either side is told, and makes it exit with 1.
    """
    from mapengine.inference.init import draft
    from mapengine.inference.writing import file_name

    if (target is None) == (model is None):
        raise click.UsageError("one of --target and --model says what is wanted")
    if output is not None and output.exists():
        raise click.UsageError(f"{output} is there; name another file")
    found = draft(source, target, model or "", file_name(output, "draft"))
    if output is not None:
        output.write_text(found.text, encoding="utf-8")
    if as_json:
        print_json({"format_version": "1.0", **found.to_dict()})
    else:
        if output is None:
            click.echo(found.text, nl=False)
        _print(found)
    raise click.exceptions.Exit(1 if found.unexplained or found.dropped else 0)


def _print(found: Drafted) -> None:
    made = f"{found.tensors} of {count(found.of_tensors, 'tensor')}"
    click.echo(f"{count(found.rules, 'rule')} for {made}, {count(found.ties, 'tie')}", err=True)
    for what, listed in (("nothing found for", found.unexplained), ("not used", found.dropped)):
        for one in listed[:_SHOWN]:
            click.echo(f"{what}: {one}", err=True)
        if len(listed) > _SHOWN:
            click.echo(f"{what}: {len(listed) - _SHOWN} more", err=True)
