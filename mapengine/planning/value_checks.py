"""What must hold of values that are read and not written, as part of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from mapengine.language.mapping import Rule
from mapengine.ops.differing import Differing
from mapengine.views import Combined, Lazy


@dataclass(frozen=True, slots=True)
class ValueCheck:
    """A tensor, or part of one, that is not written and must be what the mapping says.

    `differs` is true where an element is another. The `fault` is what is said of those.
    """

    key: str
    differs: Lazy
    fault: str
    help: str
    rule: Rule


def value_check(
    key: str, found: Lazy, wanted: Lazy, fault: str, help: str, rule: Rule
) -> ValueCheck:
    """That two tensors of one dtype and shape are equal bit for bit."""
    return ValueCheck(key, Combined.of(Differing(), [found, wanted]), fault, help, rule)
