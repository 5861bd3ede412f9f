"""What a command costs: wall time, memory and bytes, as the operating system reports them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.01
"""Seconds between two looks at a process."""
_NO_IO = dict.fromkeys(("rchar", "wchar", "read_bytes", "write_bytes"), 0)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and of the processors; all else in bytes."""

    seconds: float
    user_seconds: float
    system_seconds: float
    peak_rss: int
    peak_anonymous: int
    rchar: int
    wchar: int
    read_bytes: int
    write_bytes: int
    output_bytes: int = 0

    @property
    def processor_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


def measure(command: Sequence[str]) -> Cost:
    """Runs a command to its end, looking at its memory each 10 ms. Exits where it fails."""
    ended = threading.Event()
    # Compiled modules are kept between runs, as in any installation.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    peaks = {"VmHWM": 0, "RssAnon": 0}
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env=environment, process_group=0
        )
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks, ended))
        sampler.start()
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - start
            io = _io(process.pid)  # all of it, and not yet gone: the process is a zombie
            usage = _reap(process)
        finally:
            ended.set()
            sampler.join()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
        if process.returncode:
            said.seek(0)
            why = said.read().decode(errors="replace")[-3000:]
            sys.exit(f"{' '.join(command)} exited with {process.returncode}:\n{why}")
    return Cost(
        seconds, usage.ru_utime, usage.ru_stime, peaks["VmHWM"], peaks["RssAnon"],
        io["rchar"], io["wchar"], io["read_bytes"], io["write_bytes"],
    )  # fmt: skip


def _reap(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _sample(pid: int, peaks: dict[str, int], ended: threading.Event) -> None:
    path = Path(f"/proc/{pid}/status")
    while not ended.wait(INTERVAL):
        try:
            found = _fields(path)
        except OSError:
            return
        for name in peaks:
            if name in found:  # a zombie has none
                peaks[name] = max(peaks[name], int(found[name].split()[0]) * 1024)


def _io(pid: int) -> Mapping[str, int]:
    """Bytes that passed through reads and writes, its own and its children's."""
    try:
        return {name: int(value) for name, value in _fields(Path(f"/proc/{pid}/io")).items()}
    except OSError:  # some kernels tell root alone
        return _NO_IO


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}
