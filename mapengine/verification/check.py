"""The answer to one question about a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from mapengine.displayed import Displayed
from mapengine.errors import Problem


@dataclass(frozen=True, slots=True)
class Check(Displayed):
    """No findings mean passed, unless `skipped` says why it was not asked; `detail` counts."""

    name: str
    findings: tuple[Problem, ...] = ()
    detail: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return not self.findings and not self.skipped


class Checks(list[Check], Displayed):
    """Checks that a notebook shows as a table. A list otherwise."""
