"""`mapengine infer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapengine.commands.options import JSON, PATH
from mapengine.commands.output import count, print_json, print_problems, say

if TYPE_CHECKING:
    from mapengine.inference.inferred import Inference

_SHOWN = 20


@click.command("infer", epilog="Example: mapengine infer ORIGINAL CONVERTED -o mapping.yaml")
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("-o", "--output", type=PATH, help="Where the mapping goes.  [default: stdout]")
@JSON
def command(source: Path, target: Path, output: Path | None, as_json: bool) -> None:
    """Find the mapping that makes one checkpoint of another, from the two alone.

    Tensors are matched by content, config fields by value. The mapping is then run, and what it
    makes compared with TARGET, bit for bit: exits with 1 where they differ. What the data do not
    settle is told, and stands in the file as a comment. Take a small model: all of it is read.
    """
    from mapengine.inference.infer import infer
    from mapengine.inference.writing import file_name
    from mapengine.report.problems import problem_dict

    if output is not None and output.exists():
        raise click.UsageError(f"{output} is there; name another file")
    found = infer(source, target, file_name(output, "inferred"))
    if output is not None:
        output.write_text(found.text, encoding="utf-8")
    if as_json:
        problems = [problem_dict(problem) for problem in found.problems]
        print_json({"format_version": "1.0", **found.to_dict(), "problems": problems})
    else:
        if output is None:
            click.echo(found.text, nl=False)
        _print(found)
    raise click.exceptions.Exit(0 if found.complete else 1)


def _print(found: Inference) -> None:
    made = f"{found.tensors} of {count(found.of_tensors, 'tensor')}"
    click.echo(
        f"{count(found.rules, 'rule')} make {made}; "
        f"{found.fields} of {count(found.of_fields, 'config value')} come from the source, "
        f"{len(found.constants)} are constants",
        err=True,
    )
    _list("not explained", found.unexplained)
    _list("not in the target", found.dropped)
    _list("a tie", found.ties)
    _list("differs", found.differences)
    print_problems(found.problems, err=True)
    if found.complete:
        click.echo("run on the source, it makes the target, bit for bit", err=True)
    else:
        click.echo("it does not make the target", err=True)


def _list(what: str, listed: tuple[str, ...]) -> None:
    for one in listed[:_SHOWN]:
        say(f"{what}: {one}", err=True)
    if len(listed) > _SHOWN:
        say(f"{what}: {len(listed) - _SHOWN} more", err=True)
