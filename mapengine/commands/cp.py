"""`mapengine cp`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import PATH


@click.command("cp", epilog="Example: mapengine cp NAME my-model.yaml")
@click.argument("name")
@click.argument("to", type=PATH)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def command(name: str, to: Path, overwrite: bool) -> None:
    """Copy a mapping that ships, to read and to change. TO is a file, or a folder."""
    from mapengine.errors import suggest
    from mapengine.shipped import shipped_mappings

    shipped = shipped_mappings()
    if name not in shipped:
        hint = suggest(name, shipped) or f"these do: {', '.join(shipped)}"
        raise click.UsageError(f"no mapping {name!r} ships; {hint}")
    to = to / shipped[name].name if to.is_dir() else to
    if not to.parent.is_dir():
        raise click.UsageError(f"{to.parent} is not a folder")
    try:
        with to.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(shipped[name].read_text(encoding="utf-8"))
    except FileExistsError:
        raise click.UsageError(f"{to} is there; replace it with --overwrite") from None
    click.echo(f"{name} → {to}", err=True)
