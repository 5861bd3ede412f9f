"""How much JSON is parsed: a text of a hundred megabytes can make gigabytes of empty lists."""

from __future__ import annotations

MOST_PARTS = 3_000_000
"""Of one text. A tensor in a header has about eight, in an index one."""


def has_too_many_parts(text: str | bytes) -> bool:
    """Whether parsing `text` could make more than `MOST_PARTS` lists, objects and values.

    Commas and brackets within strings are counted too, for the sake of speed.
    """
    if isinstance(text, bytes):
        return sum(text.count(sign) for sign in b",[{") > MOST_PARTS
    return sum(text.count(sign) for sign in ",[{") > MOST_PARTS
