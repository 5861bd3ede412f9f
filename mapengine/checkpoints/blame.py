"""Says of an op that fails while values are made, which tensor of which rule it failed for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mapengine.errors import OpError, PlanError, Problem
from mapengine.language.mapping import Rule


@contextlib.contextmanager
def blamed(key: str, rule: Rule) -> Iterator[None]:
    """Raises `PlanError` for an `OpError`."""
    try:
        yield
    except OpError as error:
        problem = error.at(rule.where, rule.path)
        message = f"{key}: {problem.message}"
        raise PlanError(Problem(problem.code, message, rule.where, rule.path, error.help)) from None
