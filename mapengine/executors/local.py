"""Threads of this process: numpy's copies and the kernel's hold no lock of Python's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_here = threading.local()


class Stopped(Exception):
    """Ends a task whose result nobody waits for any more."""


def check_stopped() -> None:
    """Raises `Stopped` where the rest of the work was given up: long tasks ask now and then."""
    stop = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def heed(stop: threading.Event) -> None:
    """Has `check_stopped` and `pause` of this thread look at `stop`."""
    _here.stop = stop


def pause(seconds: float) -> None:
    """Waits. Raises `Stopped` as soon as the rest of the work is given up."""
    stop = getattr(_here, "stop", None)
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
        check_stopped()


def run_local(work: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]:
    """The results in the order of the tasks; a few tasks at most are taken ahead of the work.

    A single worker is the caller's own thread, so that what it does has one order.
    """
    if workers == 1:
        yield from map(work, tasks)
        return
    stop = threading.Event()
    with ThreadPoolExecutor(workers, "mapengine", heed, (stop,)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
