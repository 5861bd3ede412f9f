"""How far a run is: a bar on a terminal, a line now and then elsewhere. All on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from mapengine.report.units import size_text

_EVERY = 30.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A function to tell of bytes done, out of `total`."""
    hidden = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in (
        "1",
        "ON",
        "YES",
        "TRUE",
    )
    if quiet or hidden:
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(total) as advance:
            yield advance
    else:
        yield _lines(total)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("converting"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def _lines(total: int) -> Callable[[int], None]:
    start = last = time.monotonic()
    so_far = 0

    def advance(done: int) -> None:
        nonlocal last, so_far
        so_far += done
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            rate = size_text(int(so_far / (now - start)))
            print(
                f"{size_text(so_far)} of {size_text(total)} · {rate}/s", file=sys.stderr, flush=True
            )

    return advance
