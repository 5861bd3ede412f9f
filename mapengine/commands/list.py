"""`mapengine list`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import JSON
from mapengine.commands.output import print_json, say


@click.command("list", epilog="Example: mapengine list --json")
@JSON
def command(as_json: bool) -> None:
    """List the mappings that ship."""
    from mapengine.shipped import shipped_mappings

    shipped = {name: (_title(path), path) for name, path in shipped_mappings().items()}
    if as_json:
        listed = [
            {"name": name, "title": title, "file": str(path)}
            for name, (title, path) in shipped.items()
        ]
        print_json({"format_version": "1.0", "mappings": listed})
    else:
        width = max(map(len, shipped), default=0)
        for name, (title, _) in shipped.items():
            say(f"{name.ljust(width)}  {title}")


def _title(path: Path) -> str:
    """The title, from the head of the file: to read and check them all would take a second."""
    from mapengine.language.document import read_document

    head = path.read_text(encoding="utf-8").partition("\nsource:")[0]
    return str(read_document(head, path.name).data["title"])
