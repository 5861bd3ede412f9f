"""Where and when this was measured."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.places import Place, memory_available
from mapengine import __version__
from mapengine.report.units import size_text


def machine(places: Sequence[Place]) -> dict[str, str]:
    """What the figures depend on, by name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "memory": f"{size_text(memory)} ({size_text(memory_available())} available)",
        "load": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "places": ", ".join(place.name for place in places),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "safetensors", "numpy")},
        "mapengine": __version__,
        "date": datetime.date.today().isoformat(),
    }


def machine_text(facts: dict[str, str]) -> str:
    """Two lines: the machine, the versions."""
    words = ("python", "torch", "safetensors", "numpy", "mapengine")
    versions = " · ".join(f"{name} {facts[name]}" for name in words)
    return (
        f"{facts['cores']} cores, {facts['processor']} · memory {facts['memory']} · "
        f"load {facts['load']} · {facts['kernel']} · {facts['places']}\n"
        f"{versions} · {facts['date']}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
