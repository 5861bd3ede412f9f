"""Threads of this process: numpy's copies and the kernel's hold no lock of Python's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_local(work: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[R]:
    """The results in the order of the tasks; a few tasks at most are taken ahead of the work.

    A single worker is the caller's own thread, so that what it does has one order.
    """
    if workers == 1:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="mapengine") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
