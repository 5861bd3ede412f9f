"""What a plain YAML scalar means: the core schema of YAML 1.2, and nothing from 1.1.

So `1e-5` is a number, `010` is ten, and `no`, `off` and `12:30` are words.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

MAX_NUMBER_LENGTH = 40

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_STARTS = frozenset("+-.0123456789")


def read_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar; a number too long or too large raises ValueError."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    for form, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if form.fullmatch(text):
            _refuse_long(text)
            return int(text, base) if base == 10 else int(text[2:], base)
    if not _FLOAT.fullmatch(text):
        return text
    _refuse_long(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _refuse_long(text: str) -> None:
    if len(text) > MAX_NUMBER_LENGTH:
        raise ValueError(
            f"a number of {len(text)} characters; at most {MAX_NUMBER_LENGTH} are read"
        )
