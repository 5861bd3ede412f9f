"""`mapengine inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mapengine.commands.options import FOLLOW_LINKS, JSON, LOCATION
from mapengine.commands.output import print_json, print_problems

if TYPE_CHECKING:
    from mapengine.locations import Location


@click.command("inspect", epilog="Example: mapengine inspect CHECKPOINT")
@click.argument("folder", type=LOCATION)
@FOLLOW_LINKS
@JSON
def command(folder: Location, follow_links: bool, as_json: bool) -> None:
    """Show what a checkpoint holds, from its headers."""
    from mapengine.checkpoints.inspection import inspect as look
    from mapengine.report.checkpoints import inspection_text
    from mapengine.report.problems import problem_dict

    seen = look(folder, follow_links)
    if as_json:
        told = {**seen.to_dict(), "problems": [problem_dict(one) for one in seen.problems]}
        print_json({"format_version": "1.0", **told})
    else:
        click.echo(inspection_text(seen))
        print_problems(seen.problems, err=False)
    raise click.exceptions.Exit(1 if seen.problems else 0)
