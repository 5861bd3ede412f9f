"""`mapengine verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mapengine.commands.options import FOLLOW_LINKS, JSON, LOCATION, PATH
from mapengine.commands.output import print_json

if TYPE_CHECKING:
    from mapengine.locations import Location


@click.command("verify", epilog="Example: mapengine verify CONVERTED")
@click.argument("folder", type=PATH)
@click.option("--load/--no-load", default=True, help="Ask from_pretrained for its load report.")
@click.option("-s", "--source", type=LOCATION, help="Make every tensor of it again, and compare.")
@click.option("--logits", is_flag=True, help="Run the model on a few tokens.")
@FOLLOW_LINKS
@JSON
def command(
    folder: Path,
    load: bool,
    source: Location | None,
    logits: bool,
    follow_links: bool,
    as_json: bool,
) -> None:
    """Check a converted checkpoint: its files, its model class, its source, the model itself.

    Levels: the files against one another and the receipt; config and keys against the model class;
    from_pretrained's report; with --source every byte; with --logits a forward.
    """
    from mapengine.report.checkpoints import check_dict, checks_text
    from mapengine.verification.checks import verify as run_checks

    checks = run_checks(folder, load=load, source=source, logits=logits, follow_links=follow_links)
    if as_json:
        print_json({"format_version": "1.0", "checks": [check_dict(check) for check in checks]})
    else:
        click.echo(checks_text(checks))
    raise click.exceptions.Exit(1 if any(check.findings for check in checks) else 0)
