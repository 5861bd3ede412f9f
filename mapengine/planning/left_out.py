"""What a plan reads and does not write."""

from __future__ import annotations

from dataclasses import dataclass

from mapengine.language.mapping import OpCall, Rule
from mapengine.ops.differing import Differing
from mapengine.views import Combined, Lazy


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tensor, or part of one, that is not written: it must be `wanted`, unless `unchecked`.

    `at` says so in the mapping; the `fault` is what is told of elements that are others.
    """

    key: str
    content: Lazy
    wanted: Lazy
    rule: Rule
    at: Rule | OpCall
    fault: str
    help: str
    unchecked: bool = False

    @property
    def differs(self) -> Lazy:
        """True where an element is another."""
        return Combined.of(Differing(), [self.content, self.wanted])
