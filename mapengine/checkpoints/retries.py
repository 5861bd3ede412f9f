"""What is asked of another place once more, for it may have been in trouble, and what is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mapengine.executors import check_stopped, pause

T = TypeVar("T")

TRIES = 6
FIRST, LONGEST = 0.5, 20.0
"""Seconds that are waited at the most after the first try, doubled with each, and at all."""
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_PASSING_WORDS = ("Timeout", "Connect", "Disconnect", "Payload", "IncompleteRead", "ReadError",
                  "WriteError", "ProtocolError", "ResponseParser", "NetworkError")  # fmt: skip
"""In the names of the errors of HTTP libraries that mean a connection, not an answer."""


class ShortAnswer(ConnectionError):
    """Fewer bytes came than were asked for."""


def retried(call: Callable[[], T]) -> T:
    """What `call` returns, at the first try or a later one; what cannot pass is raised at once.

    It waits longer each time, at random, so that many that were refused do not come back at once.
    """
    for tried in range(1, TRIES + 1):
        check_stopped()
        try:
            return call()
        except Exception as error:
            if tried == TRIES or not may_pass(error):
                raise
        pause(random.uniform(0, min(FIRST * 2 ** (tried - 1), LONGEST)))
    raise AssertionError("unreachable")


def may_pass(error: BaseException) -> bool:
    """Whether it may go well the next time: a busy server, a connection that broke."""
    status = status_of(error)
    if status is not None:
        return status in _PASSING
    if isinstance(error, PermissionError | FileNotFoundError | FileExistsError):
        return False
    return any(
        isinstance(one, TimeoutError | ConnectionError)
        or any(word in kind.__name__ for kind in type(one).__mro__ for word in _PASSING_WORDS)
        for one in causes(error)
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status that is behind an error, if one is: each library keeps it elsewhere."""
    for one in causes(error):
        response: Any = getattr(one, "response", None)
        if isinstance(response, dict):  # botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(response, "status_code", getattr(one, "status", None))
        if status is None and type(one).__module__.startswith("gcsfs"):
            status = getattr(one, "code", None)
        if str(status).isdecimal():
            return int(str(status))
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised for."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__
