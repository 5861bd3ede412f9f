"""A command's wall time and peak memory, as the operating system reports them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time; peak resident and peak anonymous memory, in bytes."""

    seconds: float
    peak_rss: int
    peak_anonymous: int


def measure(command: Sequence[str]) -> Cost:
    """Runs a command to its end. Memory is sampled each 10 ms. Raises where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peaks = [0, 0]
    sampler = threading.Thread(target=_sample, args=(process, peaks))
    sampler.start()
    assert process.stderr is not None
    said = process.stderr.read()
    status = process.wait()
    seconds = time.perf_counter() - start
    sampler.join()
    if status:
        sys.exit(f"{' '.join(command)} exited with {status}: {said.decode()[-2000:]}")
    return Cost(seconds, peaks[0], peaks[1])


def _sample(process: subprocess.Popen[bytes], peaks: list[int]) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):
            return
        for i, name in enumerate(("VmHWM", "RssAnon")):
            if name in fields:
                peaks[i] = max(peaks[i], int(fields[name].split()[0]) * 1024)
        time.sleep(0.01)


def machine() -> str:
    """One line about where this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GB of memory, {os.uname().sysname} {os.uname().release}"
