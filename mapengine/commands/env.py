"""`mapengine env`."""

from __future__ import annotations

import click

from mapengine.commands.options import JSON
from mapengine.commands.output import print_json


@click.command("env", epilog="Example: mapengine env")
@JSON
def command(as_json: bool) -> None:
    """Show versions, platform and room, for the report of a bug."""
    from mapengine.report.environment import environment, environment_text

    told = environment()
    if as_json:
        print_json(told)
    else:
        click.echo(environment_text(told))
