"""Whether what is not written is what it must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mapengine.checkpoints.blame import blamed
from mapengine.checkpoints.gather import Reader
from mapengine.errors import PlanError, Problem
from mapengine.executors import Executor
from mapengine.planning.budget import Budget
from mapengine.planning.left_out import LeftOut
from mapengine.planning.pieces import pieces


def check_values(
    checks: Iterable[LeftOut], reader: Reader, budget: Budget, run: Executor, workers: int
) -> None:
    """Raises `PlanError` with the first tensor of each rule that is not what it must be."""

    def failed(check: LeftOut) -> Problem | None:
        with blamed(check.key, check.rule):
            count = sum(_differing(check, reader, budget))
        if not count:
            return None
        message = f"{check.key}: {count:,} of {check.content.spec.numel:,} elements {check.fault}"
        return Problem("ME306", message, check.at.where, check.at.path, check.help)

    problems: dict[str, Problem] = {}
    for problem in run(failed, checks, workers):
        if problem:
            problems.setdefault(problem.path, problem)
    if problems:
        raise PlanError(*problems.values())


def _differing(check: LeftOut, reader: Reader, budget: Budget) -> Iterator[int]:
    for piece in pieces(check.differs, budget):
        with reader.gathering(piece.content.spec.nbytes, 0) as room:
            reader.make(piece.content, room)
            yield int(np.count_nonzero(room))
