"""How far a run is: two bars on a terminal, a line now and then elsewhere. All on stderr."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mapengine.errors import printable
from mapengine.report.units import size_text

if TYPE_CHECKING:
    from mapengine.checkpoints.shards import Done
    from mapengine.planning.plan import Shard

_EVERY = 30.0  # seconds between lines where there is no terminal
_YES = ("1", "ON", "YES", "TRUE")  # what huggingface_hub takes for true


@contextlib.contextmanager
def progress(shards: Sequence[Shard], hidden: bool) -> Iterator[Callable[[Done], None]]:
    """A function to tell of what was done of some shards.

    `FORCE_COLOR` asks for the bars where there is no terminal, `TERM=dumb` for lines where there is
    one; `NO_COLOR` has the bars without colour.
    """
    if hidden or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in _YES:
        yield lambda done: None
    elif os.environ.get("TERM") != "dumb" and (
        sys.stderr.isatty() or os.environ.get("FORCE_COLOR")
    ):
        with _bars(shards) as advance:
            yield advance
    else:
        yield _Lines(shards, sys.stderr).advance


class _Totals:
    """What has been done so far, in all and of each shard."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.nbytes = sum(shard.nbytes for shard in shards)
        self.tensors = sum(t.spec.nbytes > 0 for s in shards for t in s.tensors)
        self.places = {shard.name: at for at, shard in enumerate(shards, 1)}
        self.done_tensors = self.done_nbytes = self.shards = 0
        self.of_shard: Counter[str] = Counter()

    def add(self, done: Done) -> bool:
        """Whether the shard is whole with that."""
        self.done_nbytes += done.nbytes
        self.done_tensors += done.tensors
        self.of_shard[done.shard.name] += done.nbytes
        whole = self.of_shard[done.shard.name] == done.shard.nbytes
        self.shards += whole
        return whole

    @property
    def text(self) -> str:
        count = f"{self.done_tensors:,} of {self.tensors:,} tensors"
        return f"{count} · {size_text(_resident())} of memory"

    def shard(self, name: str) -> str:
        return f"{printable(name)} ({self.places[name]} of {len(self.places)})"


@contextlib.contextmanager
def _bars(shards: Sequence[Shard]) -> Iterator[Callable[[Done], None]]:
    """One bar for all bytes, and one for the shard that was written to last."""
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
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    totals = _Totals(shards)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        whole = bars.add_task(totals.text, total=totals.nbytes)
        shard = bars.add_task("")

        def advance(done: Done) -> None:
            totals.add(done)
            name = done.shard.name
            bars.update(whole, description=totals.text, completed=totals.done_nbytes)
            bars.update(
                shard, description=totals.shard(name), total=done.shard.nbytes,
                completed=totals.of_shard[name],
            )  # fmt: skip

        yield advance


class _Lines:
    """A line for every shard that is whole, and one every half minute."""

    def __init__(self, shards: Sequence[Shard], stream: TextIO) -> None:
        self._totals = _Totals(shards)
        self._stream = stream
        self._start = self._last = time.monotonic()

    def advance(self, done: Done) -> None:
        whole, now = self._totals.add(done), time.monotonic()
        if whole and len(self._totals.places) > 1:
            self._tell(f"{self._totals.shard(done.shard.name)} is whole", now)
        elif now - self._last >= _EVERY:
            self._tell(self._totals.text, now)

    def _tell(self, what: str, now: float) -> None:
        self._last = now
        done, total = self._totals.done_nbytes, self._totals.nbytes
        rate = done / max(now - self._start, 1e-9)
        left = f"{(total - done) / rate:,.0f} s left" if rate else "time left unknown"
        of_all = f"{size_text(done)} of {size_text(total)} · {size_text(int(rate))}/s · {left}"
        print(f"{of_all} · {what}", file=self._stream, flush=True)


def _resident() -> int:
    """Bytes of this process in memory: now, where the system says so, or at their most."""
    try:
        with Path("/proc/self/statm").open() as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
