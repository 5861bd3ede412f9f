"""Tensors and ops of a plan in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mapengine.ops import Axes, Fan, Op
from mapengine.specs import TensorSpec


def specs_text(specs: Sequence[TensorSpec]) -> str:
    """`8 × bfloat16 [14336, 4096]`; several kinds one after the other."""
    kinds = list(dict.fromkeys(specs))
    count = [specs.count(kind) for kind in kinds]
    texts = [f"{f'{n} × ' if n > 1 else ''}{k}" for k, n in zip(kinds[:3], count, strict=False)]
    more = f" and {len(kinds) - 3} more kinds" if len(kinds) > 3 else ""
    return ", ".join(texts) + more


def arguments_text(op: Op) -> str:
    """`heads 32`: the arguments of an op, worked out."""
    worth_saying = [f for f in fields(op) if not isinstance(f.default, str) or
                    getattr(op, f.name) != f.default]  # fmt: skip
    given = (_argument(f.name.rstrip("_"), getattr(op, f.name)) for f in worth_saying)
    return " ".join(text for text in given if text)


def _argument(name: str, value: Any) -> str:
    match value:
        case None | False:
            return ""
        case Fan():
            return f"{name} {value.index or 'the keys'} ({value.size})"
        case Axes():
            sizes = ", ".join(f"{axis} {size}" for axis, size in value.sizes)
            return f"{value.pattern}" + (f" ({sizes})" if sizes else "")
        case tuple():
            return f"{name} [{', '.join(map(str, value))}]"
    return f"{name} {value}"
