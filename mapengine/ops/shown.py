"""An op at work: what its page shows, and a test runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A rule with one op, the tensors it is given and what it makes of them, as nested lists.

    `sizes` are the values of the config names in it, `dims` the ranges of its indices; `was` and
    `becomes` are the dtypes of the tensors that are not float32.
    """

    rule: str
    op: str
    given: Mapping[str, Any]
    made: Mapping[str, Any]
    sizes: Mapping[str, int] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    was: Mapping[str, str] = field(default_factory=dict)
    becomes: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The part of a mapping that it is, as YAML."""
        dims = ", ".join(f"{name}: {size}" for name, size in self.dims.items())
        call = f"{{{self.op}}}" if ":" in self.op else self.op
        head = f"dims: {{{dims}}}\n" if dims else ""
        return f'{head}tensors:\n  - "{self.rule}":\n      ops: [{call}]\n'
