"""Start-up of the light commands, and a conversion against `cp -r`, in alternation.

python -m benchmarks [--size 4GB] [--pairs 5] [--folder benchmarks/scratch]
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.checkpoints import write_hub_layout
from benchmarks.measure import Cost, machine, measure
from mapengine.report.units import parse_size, size_text

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
ENGINE = [sys.executable, "-m", "mapengine"]


@click.command()
@click.option("--size", default="4GB", help="Of the checkpoint that is converted.")
@click.option("--pairs", default=5, help="How many times each contestant runs.")
@click.option(
    "--folder", default=Path(__file__).parent / "scratch", type=click.Path(path_type=Path)
)
@click.option(
    "--official",
    type=click.Path(path_type=Path),
    help="The Python of a venv with transformers 4.45.2, to run its script too.",
)
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the figures here.")
def main(size: str, pairs: int, folder: Path, official: Path | None, as_json: Path | None) -> None:
    """Print one table; every figure is a median with its range."""
    figures = {
        "machine": machine(),
        **start_up(pairs),
        **conversion(parse_size(size), pairs, folder, official),
    }
    print(f"\n{figures['machine']}")
    for name, figure in figures.items():
        if name != "machine":
            print(f"  {name:<52} {figure}")
    if as_json:
        as_json.write_text(json.dumps(figures, indent=2) + "\n")


def start_up(pairs: int) -> dict[str, str]:
    """Cold starts of the light commands, whole process."""
    commands = {
        "mapengine --help": ["--help"],
        "mapengine validate mappings/mixtral.yaml": ["validate", str(MAPPING)],
    }
    return {
        name: _seconds([measure([*ENGINE, *words]).seconds for _ in range(pairs)])
        for name, words in commands.items()
    }


def conversion(size: int, pairs: int, folder: Path, official: Path | None) -> dict[str, str]:
    """A layout-B checkpoint converted, and copied, in turn; the page cache warm."""
    source, output, copy = folder / "source", folder / "converted", folder / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    bytes_there = write_hub_layout(source, size)
    run = [*ENGINE, "run", str(MAPPING), "--source", str(source), "--output", str(output), "-q"]
    runs: list[Cost] = []
    copies: list[Cost] = []
    for _ in range(pairs + 1):  # the first warms the page cache
        copies.append(
            _cleared(copy, ["sh", "-c", f"cp -r '{source}' '{copy}' && sync -f '{copy}'"])
        )
        runs.append(_cleared(output, run))
    runs, copies = runs[1:], copies[1:]
    ratios = [run.seconds / copy.seconds for run, copy in zip(runs, copies, strict=True)]
    figures = {
        f"convert {size_text(bytes_there)}, synced": _seconds([cost.seconds for cost in runs]),
        "cp -r and sync -f of the same": _seconds([cost.seconds for cost in copies]),
        "convert / cp": _range(ratios, ""),
        "peak resident memory": size_text(max(cost.peak_rss for cost in runs)),
        "peak anonymous memory": size_text(max(cost.peak_anonymous for cost in runs)),
    }
    if official:
        script = Path(__file__).parent.parent / "tests" / "golden" / "run_script.py"
        cost = _cleared(output, [str(official), str(script), str(source), str(output)])
        figures["the official script"] = f"{cost.seconds:.1f} s, {size_text(cost.peak_rss)}"
    shutil.rmtree(folder)
    return figures


def _cleared(target: Path, command: Sequence[str]) -> Cost:
    shutil.rmtree(target, ignore_errors=True)
    return measure(command)


def _seconds(values: Sequence[float]) -> str:
    return _range(values, " s")


def _range(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.2f}{unit}  ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
