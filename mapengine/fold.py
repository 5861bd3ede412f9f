"""Many tensor keys as few lines: `layers.{0...31}.attention.wq.weight`, 32 of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mapengine.errors import on_one_line, suggest

MAX_PIECES = 6
_WIDTH = 240  # of a pattern: keys of a hostile file may be a megabyte long

# a whole component, of a length that a number still has
_NUMBER = re.compile(r"(?<![^./])([0-9]{1,18})(?![^./])")


def fold(keys: Iterable[str]) -> list[tuple[str, int]]:
    """Each pattern of keys that differ in numbers alone, and how many have it, in order.

    They are for people to read: each on one line, and shortened where it is very long.
    """
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in keys:
        pieces = _NUMBER.split(key)
        groups.setdefault(tuple(pieces[::2]), []).append(tuple(pieces[1::2]))
    return [(_pattern(words, numbers), len(numbers)) for words, numbers in groups.items()]


def suggest_key(key: str, keys: Iterable[str]) -> str:
    """`did you mean 'norm.weight'?`, of keys that differ from it in more than numbers."""
    others = (pattern for pattern, _ in fold(keys))
    return suggest(key, (one for one in others if without_numbers(one) != without_numbers(key)))


def without_numbers(key: str) -> str:
    """The same for all keys, and patterns of keys, that differ in numbers alone."""
    return re.sub(r"[0-9]+|\{[^}]*\}", "#", key)


def _pattern(words: tuple[str, ...], numbers: list[tuple[str, ...]]) -> str:
    ranges = [_range(set(column)) for column in zip(*numbers, strict=True)]
    whole = words[0] + "".join(a + b for a, b in zip(ranges, words[1:], strict=True))
    return on_one_line(whole, _WIDTH)


def _range(texts: set[str]) -> str:
    ordered = sorted(texts, key=lambda text: (int(text), text))
    if len(ordered) == 1:
        return ordered[0]
    pieces = list(_pieces(ordered))
    if len(pieces) > MAX_PIECES:
        return f"{{{ordered[0]} … {ordered[-1]}: {len(ordered)} of them}}"
    return "{" + ", ".join(pieces) + "}"


def _pieces(ordered: list[str]) -> Iterator[str]:
    """Three or more in a row as a range, the others one by one."""
    start = 0
    for end in range(1, len(ordered) + 1):
        if end < len(ordered) and int(ordered[end]) == int(ordered[end - 1]) + 1:
            continue
        run = ordered[start:end]
        yield from [f"{run[0]}...{run[-1]}"] if len(run) > 2 else run
        start = end
