"""What inference comes to, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mapengine.errors import Problem


@dataclass(frozen=True, slots=True)
class Inference:
    """A mapping by example, and how far it goes.

    `ties` are choices that the content does not settle; `unexplained` target tensors that no rule
    makes, `dropped` source tensors that none reads. `constants` are target config values that
    nothing in the source gives. `differences` are between what the mapping makes and the target;
    `problems` are why it could not be run.
    """

    text: str
    rules: int
    tensors: int
    of_tensors: int
    fields: int
    of_fields: int
    ties: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    constants: Mapping[str, object] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, for JSON."""
        problems = [str(problem) for problem in self.problems]
        return {
            **asdict(replace(self, problems=())),
            "problems": problems,
            "complete": self.complete,
        }

    @property
    def complete(self) -> bool:
        """Whether the mapping makes the target, bit for bit, of the source."""
        return not (self.unexplained or self.differences or self.problems)
