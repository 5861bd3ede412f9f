"""Tasks on a Ray cluster. The one file that imports ray."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import signal
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from mapengine.errors import MapengineError, OutputError, Problem

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 5
"""Times that a task is begun again: its worker or node is gone, or its storage hiccups."""
_MOST_WAITING = 1000
"""Tasks that the cluster is told of at a time, where nobody says how many are to run at once."""
_TICK, _PATIENCE = 0.5, 5.0
"""Seconds between looks at signals, and for an answer, or tasks that were cancelled to be gone."""
_STORE = 80 * 2**20
"""Bytes of Ray's own store on a cluster that is started here: what is passed around is small."""
_LASTING = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOENT,
    errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV, errno.ENXIO,
}  # fmt: skip
"""Errors of a disk that the next try has too."""


class Passing(Exception):
    """Holds an error that the next try may not have. Raised on the cluster, for Ray to see."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Runs tasks on the cluster at `address`, that of `RAY_ADDRESS`, or one of this machine alone.

    Each may take `memory` bytes. Results come as they are done, in any order. Tasks go to all nodes
    alike, for what they read and write is near to none; those whose worker or node dies are begun
    again elsewhere, while the first may still go on unseen: they must bear that.
    """

    address: str | None
    memory: int

    def __call__(
        self, work: Callable[[T], R], tasks: Iterable[T], workers: int | None
    ) -> Generator[R]:
        """Raises what the work does, and `OutputError` where the cluster cannot do it."""
        ray = _ray()
        with _connected(ray, self.address):
            self._check_memory(ray)
            remote = ray.remote(_guarded).options(
                num_cpus=1, memory=self.memory, max_retries=_RETRIES, retry_exceptions=[Passing],
                scheduling_strategy="SPREAD", name=getattr(work, "__name__", "task"),
            )  # fmt: skip
            left, waiting = iter(tasks), list[Any]()
            try:
                while True:
                    room = (workers or _MOST_WAITING) - len(waiting)
                    waiting += [remote.remote(work, one) for one in itertools.islice(left, room)]
                    if not waiting:
                        return
                    done, waiting = _wait(ray, waiting)
                    for one in done:
                        yield _value(ray, one)
            finally:
                _cancel(ray, waiting)

    def _check_memory(self, ray: Any) -> None:
        """Raises where no node will ever have enough: Ray would wait for one without a word."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((n.get("memory", 0) for n in nodes if n.get("CPU", 0) >= 1), default=self.memory)
        if most < self.memory:
            message = f"a task takes {self.memory:,} bytes of memory, and no node has more than"
            problem = Problem("ME624", f"{message} {int(most):,}", help="lower --memory")
            raise OutputError(problem)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        message, help = "ray is not installed", "pip install 'mapengine[ray]'"
        raise OutputError(Problem("ME624", message, help=help)) from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to a cluster, for as long as it is needed; signals are left to us."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ours = not ray.is_initialized()
    try:
        if ours:
            _connect(ray, address)
        for number, handler in handlers.items():
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, handler)
        yield
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _STORE}
    try:
        _reach(address)
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        message = f"there is no Ray cluster at {address}: {error}"
        help = "`ray start --head` starts one; --address HOST:PORT says where it is"
        raise OutputError(Problem("ME624", message, help=help)) from error


def _reach(address: str) -> None:
    """Raises `OSError` where nobody answers: Ray itself would go on asking for minutes."""
    if found := re.fullmatch(r"(?:ray://)?\[?([\w.:-]+?)\]?:([0-9]{1,5})", address):
        socket.create_connection((found[1], int(found[2])), _PATIENCE).close()


def _guarded(work: Callable[[T], R], task: T) -> tuple[R | None, Exception | None]:
    """What becomes of a task, an error as a value: Ray would dress it up."""
    try:
        return work(task), None
    except Exception as error:
        if _is_passing(error):
            raise Passing(error) from None
        return None, error


def _is_passing(error: BaseException | None) -> bool:
    """Whether the cause of an error is one of the disk or network that may not come again."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno not in _LASTING
        error = error.__cause__
    return False


def _wait(ray: Any, waiting: list[Any]) -> tuple[list[Any], list[Any]]:
    """Those that are done, if any are within a moment, and the others."""
    try:
        done, left = ray.wait(waiting, timeout=_TICK)
    except SystemError as error:  # a handler of ours raised at a signal, in code that lets none by
        raise error.__cause__ or error from None
    return done, left


def _value(ray: Any, done: Any) -> Any:
    """The result of a task that is done with. Raises what it has raised."""
    try:
        value, error = ray.get(done)
    except ray.exceptions.RayTaskError as told:
        if isinstance(told.cause, Passing):
            raise told.cause.error from None
        raise OutputError(_lost(told.cause or told)) from told
    except ray.exceptions.RayError as told:
        raise OutputError(_lost(told)) from told
    if error is not None:
        raise error
    return value


def _lost(error: BaseException) -> Problem:
    first = str(error).strip().splitlines()
    message = f"the cluster did not do a task: {type(error).__name__}: {first[0] if first else ''}"
    return Problem("ME624", message, help="what is finished is kept: the same command goes on")


def _cancel(ray: Any, waiting: list[Any]) -> None:
    """Stops tasks that nobody waits for any more, and sees that they are gone."""
    if not waiting:
        return
    for one in waiting:
        ray.cancel(one, force=True)
    with contextlib.suppress(MapengineError, ray.exceptions.RayError):
        ray.wait(waiting, num_returns=len(waiting), timeout=_PATIENCE)
