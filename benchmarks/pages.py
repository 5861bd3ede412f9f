"""What the page of `mapengine report` weighs, and how fast it is made, opened and searched.

python -m benchmarks.pages
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks import sparse
from benchmarks.bench import MAPPING, engine
from benchmarks.checkpoints import Model
from benchmarks.measure import measure
from mapengine.report.units import size_text

MODELS = (
    Model(hidden=4096, ffn=14336, layers=32),
    Model(hidden=7168, ffn=2048, layers=87, heads=56, experts=384, vocab=129280),
)
"""Checkpoints of a thousand and of a hundred thousand tensors."""
RUNS = 5
_KEY = "layers.{}.self_attn.q_proj"
_SEARCH = """async (text) => {
  const start = performance.now();
  document.getElementById("search").value = text;
  update();
  document.body.getBoundingClientRect();
  return performance.now() - start;
}"""


@click.command()
@click.option("--chromium", default="chromium", show_default=True, help="The browser.")
def main(chromium: str) -> None:
    """Print a line for each checkpoint. Its data are holes: nothing but headers is read."""
    lines: list[tuple[str, ...]] = [
        ("tensors", "page", "made in", "opened in", "first search", "later searches")
    ]
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(_line(model, Path(folder), chromium))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))


def _line(model: Model, folder: Path, chromium: str) -> tuple[str, ...]:
    source, page = sparse.write_sharded(model, folder / "source"), folder / "report.html"
    cost = measure(engine("report", MAPPING, "--source", source, "--output", page))
    shutil.rmtree(source)
    opened, first, later = _in_browser(page, _KEY.format(model.layers - 1), chromium)
    return (
        f"{len(model.shapes()):,}", size_text(page.stat().st_size), f"{cost.seconds:.1f} s",
        f"{opened * 1000:.0f} ms", f"{first:.0f} ms", f"{later:.0f} ms",
    )  # fmt: skip


def _in_browser(page: Path, key: str, chromium: str) -> tuple[float, float, float]:
    """Medians: seconds to open, milliseconds of a first search and of those that follow."""
    from playwright.sync_api import sync_playwright

    found: list[tuple[float, float, float]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which(chromium), args=["--no-sandbox"]
        )
        for _ in range(RUNS):
            tab: Any = browser.new_page()
            start = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html.ready")
            opened = time.perf_counter() - start
            searches = [tab.evaluate(_SEARCH, text) for text in (key, f"{key}.w", "norm")]
            found.append((opened, searches[0], statistics.mean(searches[1:])))
            tab.close()
        browser.close()
    opens, firsts, laters = zip(*found, strict=True)
    return statistics.median(opens), statistics.median(firsts), statistics.median(laters)


if __name__ == "__main__":
    main()
