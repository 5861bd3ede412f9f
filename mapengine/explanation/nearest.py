"""The names that are nearest to one that is not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_NUMBER = re.compile(r"\d+")
_LEAST = 0.3
"""How alike names must be to be told, between 0 and 1."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Those of the `known` that are most like a name, the nearest first.

    Layers are alike: of keys that differ in numbers alone, one with the nearest numbers is told.
    """
    groups: dict[str, list[str]] = {}
    for one in dict.fromkeys(known):
        groups.setdefault(_NUMBER.sub("0", one), []).append(one)
    near = difflib.get_close_matches(_NUMBER.sub("0", name), groups, n=count, cutoff=_LEAST)
    return [min(groups[one], key=lambda other: _distance(name, other)) for one in near]


def _distance(name: str, other: str) -> int:
    """How far the numbers in two names are apart."""
    pairs = zip(_NUMBER.findall(name), _NUMBER.findall(other), strict=False)
    return sum(abs(int(a[:18]) - int(b[:18])) for a, b in pairs)
