"""`mapengine verify`."""

from __future__ import annotations

from pathlib import Path

import click

from mapengine.commands.options import JSON, PATH
from mapengine.commands.output import print_json


@click.command("verify", epilog="Example: mapengine verify CONVERTED")
@click.argument("folder", type=PATH)
@click.option("--load/--no-load", default=True, help="Ask from_pretrained for its load report.")
@JSON
def command(folder: Path, load: bool, as_json: bool) -> None:
    """Check a converted checkpoint: its files against one another, and against the model class."""
    from mapengine.report.checkpoints import check_dict, checks_text
    from mapengine.verification import verify as run_checks

    checks = run_checks(folder, load=load)
    if as_json:
        print_json({"format_version": "1.0", "checks": [check_dict(check) for check in checks]})
    else:
        click.echo(checks_text(checks))
    raise click.exceptions.Exit(1 if any(check.findings for check in checks) else 0)
