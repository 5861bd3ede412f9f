"""`mapengine list`."""

from __future__ import annotations

import click

from mapengine.commands.options import JSON
from mapengine.commands.output import print_json


@click.command("list")
@JSON
def command(as_json: bool) -> None:
    """List the mappings that ship."""
    from mapengine.api import load, shipped_mappings

    shipped = {name: load(path) for name, path in shipped_mappings().items()}
    if as_json:
        listed = [
            {"name": n, "title": m.title, "file": m.document.file} for n, m in shipped.items()
        ]
        print_json({"format_version": "1.0", "mappings": listed})
    else:
        width = max(map(len, shipped), default=0)
        for name, mapping in shipped.items():
            click.echo(f"{name.ljust(width)}  {mapping.title}")
