"""What a problem's code stands for, as a value."""

from __future__ import annotations

from dataclasses import dataclass

BASE = """\
mapengine: 1
name: demo
source: {config: config.json, tensors: model.safetensors}
target: {config: config.json, tensors: model.safetensors}
config: {hidden: hidden, layers: layers, heads: heads}
dims: {layer: layers}
tensors:
  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden]}
example: {hidden: 6, layers: 2, heads: 2}
"""
"""The good mapping in which an example that is YAML replaces the parts of the same name."""


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of problem: its `title`, the `cause`, an `example`, and the `cure`.

    The example is part of a mapping that has the problem, where a mapping alone can have it;
    else it is what is printed. A `note` is worth telling, and no mistake by itself.
    """

    title: str
    cause: str
    example: str
    cure: str
    note: bool = False

    @property
    def is_yaml(self) -> bool:
        """Whether the example is to be put into `BASE`."""
        return not self.example.startswith("ME")


def in_base(example: str) -> str:
    """`BASE` with the parts that the example has in place of its own."""
    new, kept, keep = _parts(example), "", True
    for line in BASE.splitlines(keepends=True):
        keep = keep if line.startswith(" ") else not _parts(line) & new
        kept += line if keep else ""
    return f"{kept}{example}\n"


def _parts(text: str) -> set[str]:
    return {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()}
