"""`mapengine explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mapengine.commands.options import FOLLOW_LINKS, JSON, LOCATION, SETTINGS, mapping_names
from mapengine.commands.output import print_json

if TYPE_CHECKING:
    from mapengine.locations import Location


@click.command(
    "explain", epilog="Example: mapengine explain mappings/NAME.yaml KEY --source CHECKPOINT"
)
@click.argument("mapping", shell_complete=mapping_names)
@click.argument("name", required=False)
@click.option("-s", "--source", type=LOCATION, help="The checkpoint's folder; else the example.")
@click.option("--reverse", is_flag=True, help="The way back: the folder holds the target.")
@click.option("--layout", help="The layout, where the files do not tell.")
@click.option("--preset", help="A named set of config values of the mapping.")
@SETTINGS
@FOLLOW_LINKS
@JSON
def command(
    mapping: str, name: str | None, source: Location | None, as_json: bool, **given: Any
) -> None:
    """Show what becomes of a NAME: a tensor's key or a config field of either side.

    The rule that has it, its indices, the ops with shapes, the bytes and files it comes from and
    goes to; of a field its value, and where that is from. A word of the language, as `ops.split` or
    `rules.shape`, may be asked for with a mapping or without. Reads headers only.
    """
    from mapengine import api
    from mapengine.explanation import ask_language, is_wrong
    from mapengine.report.explanations import explained_dict, explained_text

    if name is None:
        found = [ask_language(mapping)]
    else:
        job = api.Job(
            api.load(mapping), source, given["values"], given["preset"], layout=given["layout"],
            reverse=given["reverse"], follow_links=given["follow_links"],
        )  # fmt: skip
        found = api.explain(job, name)
    if as_json:
        listed = [explained_dict(one) for one in found]
        print_json({"format_version": "1.0", "name": name or mapping, "found": listed})
    else:
        click.echo("\n\n".join(explained_text(one) for one in found))
    raise click.exceptions.Exit(1 if any(map(is_wrong, found)) else 0)
