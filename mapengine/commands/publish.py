"""`mapengine publish`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import JSON, MEMORY, PATH, WORKERS
from mapengine.commands.output import print_json, say
from mapengine.commands.run import OVERWRITE, SYNC, print_result


@click.command("publish", epilog="Example: mapengine publish CONVERTED")
@click.argument("output", type=PATH)
@OVERWRITE
@SYNC
@MEMORY
@WORKERS
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@JSON
def command(
    output: Path, overwrite: bool, sync: bool, memory: int, workers: int | None, quiet: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Publish an output whose parts were made one by one, by `run --part`.

    Checks that every shard is there, writes index, configs and receipt, and gives it its name. What
    is missing is named, with the command that makes it.
    """
    from mapengine.parts import publish

    result = publish(output, workers=workers, memory=memory, sync=sync, overwrite=overwrite)
    if as_json:
        print_json({"format_version": "1.0", **result.to_dict()})
    elif not quiet:
        print_result(result)
        say(f"Next: mapengine verify {output}", err=True)
