"""Some of a plan's tensors, by key. What is left of a checkpoint then is no model."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mapengine.errors import PlanError, Problem
from mapengine.fold import suggest_key

if TYPE_CHECKING:
    from mapengine.planning.plan import PlannedTensor


def selected(
    tensors: Sequence[PlannedTensor], patterns: Sequence[str], root: str = ""
) -> list[PlannedTensor]:
    """The tensors whose key, in the file, fits one of the `patterns`, in which `*` is any text.

    All of them where there are no patterns. Raises `PlanError` for a pattern that fits none.
    """
    if not patterns:
        return list(tensors)
    keys = [root + tensor.key for tensor in tensors]
    chosen: set[str] = set()
    problems = []
    for pattern in patterns:
        fits = re.compile(fnmatch.translate(pattern)).match
        if not (found := {key for key in keys if fits(key)}):
            message = f"no tensor that would be written is called {pattern}"
            problems.append(Problem("ME318", message, help=suggest_key(pattern, keys)))
        chosen |= found
    if problems:
        raise PlanError(*problems)
    return [tensor for tensor, key in zip(tensors, keys, strict=True) if key in chosen]
