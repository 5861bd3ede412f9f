"""`mapengine schema`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import PATH
from mapengine.commands.output import say


@click.command("schema")
@click.option("-o", "--output", type=PATH, help="Write it to a file.")
@click.option("--check", type=PATH, help="Exit with 1 unless this file is it.")
def command(output: Path | None, check: Path | None) -> None:
    """Print the JSON Schema of mapping files, for editors and CI."""
    from mapengine.language.schema import schema_text

    if check is not None:
        fresh = check.is_file() and check.read_bytes() == schema_text().encode()
        say(f"{check} is {'fresh' if fresh else 'not what `mapengine schema` prints'}")
        raise click.exceptions.Exit(0 if fresh else 1)
    if output is not None:
        output.write_text(schema_text(), encoding="utf-8")
    else:
        click.echo(schema_text(), nl=False)
