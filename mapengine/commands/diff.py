"""`mapengine diff`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mapengine.commands.options import JSON, MEMORY, WORKERS
from mapengine.commands.output import fail, print_json

if TYPE_CHECKING:
    from mapengine.comparison.headers import Checkpoint
    from mapengine.comparison.values import ValueDiff
    from mapengine.locations import Location


@click.command("diff", epilog="Example: mapengine diff CONVERTED OTHER --values --rtol 1e-5")
@click.argument("one")
@click.argument("other")
@click.option("--values", is_flag=True, help="Compare the values of the tensors too.")
@click.option(
    "--atol",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="How far apart values may be.",
)
@click.option(
    "--rtol",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="And how far for each unit of the second one's value.",
)
@MEMORY
@WORKERS
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
def command(
    one: str, other: str, values: bool, atol: float, rtol: float, memory: int,
    workers: int | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show what is not the same of two checkpoints, or of two mappings.

    Of checkpoints (folders, or tensor files) keys, shapes, dtypes and config values, from headers;
    with --values what stands in the tensors, piece by piece. How they lie in files does not matter.
    Of mappings (.yaml files, or names of those that ship) what they make of their examples: which
    elements of which tensors go where, however the rules are written; and their fields and sides.

    Exits with 0 (the same), 1 (different) or 2 (could not compare).
    """
    from mapengine.errors import MapengineError
    from mapengine.locations import location

    try:
        if _is_mapping(one) != _is_mapping(other):
            raise click.UsageError("one is a mapping, and the other is none: name two of a kind")
        if _is_mapping(one):
            if values:
                raise click.UsageError("--values is for checkpoints")
            differs = _mappings(one, other, as_json)
        else:
            allowed = (atol, rtol) if values else None
            both = location(one), location(other)
            differs = _checkpoints(*both, allowed, memory, workers, quiet, as_json)
    except MapengineError as error:
        fail(error)
        raise click.exceptions.Exit(2) from None
    raise click.exceptions.Exit(1 if differs else 0)


def _is_mapping(name: str) -> bool:
    from mapengine.shipped import shipped_mappings

    path = Path(name)
    return path.suffix in (".yaml", ".yml") or (not path.exists() and name in shipped_mappings())


def _mappings(one: str, other: str, as_json: bool) -> bool:
    from mapengine.api import load
    from mapengine.comparison.mappings import compare_mappings
    from mapengine.report.comparisons import mappings_dict, mappings_text

    diff = compare_mappings(load(one), load(other))
    if as_json:
        print_json({"format_version": "1.0", "same": diff.is_empty, **mappings_dict(diff)})
    else:
        click.echo(mappings_text(diff))
    return not diff.is_empty


def _checkpoints(
    one: Location, other: Location, tolerance: tuple[float, float] | None, memory: int,
    workers: int | None, quiet: bool, as_json: bool,
) -> bool:  # fmt: skip
    from mapengine.comparison.headers import compare_headers, read_checkpoint
    from mapengine.report.comparisons import (
        headers_dict,
        headers_text,
        values_dict,
        values_text,
    )

    both = read_checkpoint(one), read_checkpoint(other)
    diff = compare_headers(*both)
    told: dict[str, Any] = headers_dict(diff)
    differs = not diff.is_empty
    if not as_json:
        click.echo(headers_text(diff))
    if tolerance is not None:
        found = _values(both, tolerance, memory, workers, quiet)
        told["values"] = values_dict(found)
        differs = differs or any(value.beyond for value in found)
        if not as_json:
            click.echo(values_text(found))
    if as_json:
        print_json({"format_version": "1.0", "same": not differs, **told})
    return differs


def _values(
    both: tuple[Checkpoint, Checkpoint], tolerance: tuple[float, float], memory: int,
    workers: int | None, quiet: bool,
) -> list[ValueDiff]:  # fmt: skip
    from mapengine.comparison.values import Tolerance, compare_values
    from mapengine.executors import default_workers

    sizes = {key: stored.spec.nbytes for key, stored in both[0].tensors.items()}
    at_once = workers or default_workers()
    found = []
    with _progress(sum(sizes.values()), quiet) as advance:
        for value in compare_values(*both, Tolerance(*tolerance), memory, at_once):
            found.append(value)
            advance(sizes[value.key])
    return found


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=total, label="comparing", file=sys.stderr) as bar:
        yield bar.update
