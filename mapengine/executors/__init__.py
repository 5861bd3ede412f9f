"""How the work of a plan is spread. A new executor is one file and one entry here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from mapengine.executors.local import Stopped, check_stopped, heed, pause, run_local

__all__ = ["EXECUTORS", "Executor", "Stopped", "check_stopped", "default_workers", "heed", "pause"]

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Shaped like `map`, with a number of workers; the first error stops the rest and is raised."""

    def __call__(self, work: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]: ...


def default_workers(sync: bool = True) -> int:
    """One a core, another for when one of them waits for the disk, and not many in all."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores + sync, 8)


EXECUTORS: dict[str, Executor] = {"local": run_local}
