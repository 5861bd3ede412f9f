"""Speed, memory, bytes and scale in one table, and as JSON with every single run.

python -m benchmarks [--size 4GB] [--pairs 5] [--only conversion,memory] [--json FILE]
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks import (
    conversion,
    memory,
    places,
    planning,
    safety,
    sameness,
    shapes,
    startup,
    workers,
)
from benchmarks.bench import Bench
from benchmarks.checkpoints import LAYOUTS
from benchmarks.machine import machine, machine_text
from benchmarks.rows import Row, table_text
from mapengine.report.units import parse_size

FORMAT_VERSION = "1.0"
PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "start-up": startup.rows,
    "conversion": conversion.rows,
    "safety": safety.rows,
    "workers": workers.rows,
    "memory": memory.rows,
    "planning": planning.rows,
    "proportions": shapes.rows,
}


def _one(read: Callable[[str], Any], choices: Container[Any] | None = None) -> Any:
    """A callback for an option of one value."""

    def parse(context: click.Context, option: click.Parameter, text: str) -> Any:
        try:
            value = read(text.strip())
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if choices is not None and value not in choices:
            raise click.BadParameter(f"there is no {text.strip()!r}")
        return value

    return parse


def _many(read: Callable[[str], Any], choices: Container[Any] | None = None) -> Any:
    """A callback for an option of several values, commas between."""
    one = _one(read, choices)

    def parse(context: click.Context, option: click.Parameter, text: str | None) -> Any:
        return text and [one(context, option, part) for part in text.split(",")]

    return parse


@click.command()
@click.option(
    "--size",
    default="4GB",
    show_default=True,
    callback=_one(parse_size),
    help="Of the checkpoints that are converted, about.",
)
@click.option(
    "--pairs",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="How many times each contestant runs.",
)
@click.option(
    "--layouts",
    default="A,B,C",
    show_default=True,
    callback=_many(str.upper, LAYOUTS),
    help="Those that `conversion` and `safety` convert.",
)
@click.option(
    "--places",
    "folders",
    callback=_many(Path),
    help="Folders to work in.  [default: benchmarks/scratch, and /dev/shm if a tmpfs]",
)
@click.option(
    "--workers",
    default="1,2,4",
    show_default=True,
    callback=_many(int, range(1, 257)),
    help="Numbers of threads; the first is what the others are held against.",
)
@click.option(
    "--memory-sizes",
    default="1GB,4GB,16GB,100GB",
    show_default=True,
    callback=_many(parse_size),
    help="Of the checkpoints that `memory` converts.",
)
@click.option(
    "--drop-caches",
    "cold",
    is_flag=True,
    help="Convert with a cold page cache too; as root, drops the whole machine's.",
)
@click.option(
    "--claim/--no-claim",
    default=True,
    show_default=True,
    help="Before each run, take memory and free it, for a host may have it lent to others.",
)
@click.option(
    "--official",
    type=click.Path(path_type=Path, exists=True),
    help="The Python of a venv with transformers 4.45.2, to run its script too.",
)
@click.option(
    "--only",
    default=",".join(PARTS),
    show_default=True,
    callback=_many(str, PARTS),
    help="Parts to measure.",
)
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write all figures here.")
def main(folders: list[Path] | None, only: list[str], as_json: Path | None, **options: Any) -> None:
    """Measure mapengine against cp, plain torch, and the script it replaces.

    Prints one table: of every pair of runs the ratio, their median, and their range.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clear up, as on Ctrl-C
    with places.opened(folders or places.default_folders()) as where:
        bench = Bench(places=where, **options)
        facts = machine(where)
        rows: list[Row] = []
        try:
            if "conversion" in only:
                sameness.check(bench)
            for part in only:
                click.echo(part, err=True)
                rows += PARTS[part](bench)
        finally:  # what there is, whatever went wrong
            if rows:
                click.echo("\n".join(["", machine_text(facts), "", table_text(rows), *bench.notes]))
            if rows and as_json:
                options = {"pairs": bench.pairs, "size": bench.size, "claim": bench.claim}
                figures = {
                    "format_version": FORMAT_VERSION, "machine": facts,
                    "options": options, "notes": bench.notes,
                    "rows": [row.to_dict() for row in rows], "runs": bench.runs,
                }  # fmt: skip
                as_json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
