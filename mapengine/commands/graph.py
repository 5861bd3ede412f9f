"""`mapengine graph`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapengine.commands.options import PATH, reading_options
from mapengine.commands.output import print_problems
from mapengine.commands.report import surveyed

if TYPE_CHECKING:
    from mapengine.locations import Location


@click.command(
    "graph", epilog="Example: mapengine graph mappings/NAME.yaml --format svg -o graph.svg"
)
@reading_options
@click.option(
    "--format",
    "kind",
    type=click.Choice(["mermaid", "svg"]),
    default="mermaid",
    show_default=True,
    help="Mermaid, which GitHub draws where it stands, or SVG.",
)
@click.option("-o", "--output", type=PATH, help="Write it to a file.")
def command(source: Location | None, kind: str, output: Path | None, **given: Any) -> None:
    """Print the rules as a graph, for documents and pull requests.

    Without --source it is of the mapping's example.
    """
    from mapengine.planning.plan import DEFAULT_SHARD_SIZE
    from mapengine.report.graph import graph_mermaid, graph_svg

    surveys = surveyed(source, {**given, "format_": None, "max_shard_size": DEFAULT_SHARD_SIZE})
    text = (graph_svg if kind == "svg" else graph_mermaid)(surveys)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
    problems = [problem for one in surveys for problem in one.problems]
    print_problems(problems, err=True)
    raise click.exceptions.Exit(1 if problems else 0)
