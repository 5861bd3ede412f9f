"""The operators and functions of expressions, on plain values, none of them able to run away.

Integers stay below 2**128 and are bounded before they are computed; words, lists and truth values
are not numbers; a result that is infinite or not a number is refused.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mapengine.errors import Problem, Where

MAX_BITS = 128
MAX_EXPONENT = 64

Number = int | float


class ExpressionError(ValueError):
    """What is wrong with an expression, at `offset` in its text.

    `where` is that place in the mapping, once a caller that knows it has said so.
    """

    def __init__(self, message: str, offset: int | None = None, help: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.help = help
        self.where: Where | None = None

    def place(self, where: Where | None, text: str) -> None:
        """Says that `text` stands at `where`; an inner place that is known already is kept."""
        if self.where is None:
            self.where = where if self.offset is None else place_of(where, text, self.offset)

    def problem(self, code: str, path: str = "") -> Problem:
        return Problem(code, str(self), self.where, path, self.help)


def place_of(where: Where | None, text: str, offset: int, width: int = 1) -> Where | None:
    """The place of a part of `text`, which stands at `where`; all of it where text is folded."""
    if where is None or where.width not in (len(text), len(text) + 2):  # plain, or in quotes
        return where
    column = where.column + (where.width - len(text)) // 2 + offset
    return replace(where, column=column, width=width)


def shown(value: Any) -> str:
    """A value in the words of YAML, short."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


def number(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"a number is needed here, found {shown(value)}")
    return _bounded(value) if isinstance(value, int) else value


def truth(value: Any) -> bool:
    if not isinstance(value, int):
        raise ExpressionError(f"true or false is needed here, found {shown(value)}")
    return bool(value)


def _bounded(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise ExpressionError(f"a number beyond 2**{MAX_BITS}")
    return value


def checked(value: Any) -> Number:
    if isinstance(value, int):
        return _bounded(value)
    if not isinstance(value, float) or not math.isfinite(value):
        raise ExpressionError("the result is not a finite number")
    return value


def _divisor(divide: Callable[[Any, Any], Any]) -> Callable[[Number, Number], Any]:
    def divided(left: Number, right: Number) -> Any:
        if right == 0:
            raise ExpressionError("division by zero")
        return divide(left, right)

    return divided


def _power(base: Number, exponent: Number) -> Any:
    if abs(exponent) > MAX_EXPONENT:
        raise ExpressionError(f"an exponent beyond {MAX_EXPONENT}")
    if base == 0 and exponent < 0:
        raise ExpressionError("division by zero")
    if isinstance(base, int) and (base.bit_length() - 1) * exponent > MAX_BITS:
        raise ExpressionError(f"a number beyond 2**{MAX_BITS}")
    return base**exponent


_ARITHMETIC: dict[str, Callable[[Number, Number], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": _divisor(operator.truediv),
    "FloorDiv": _divisor(operator.floordiv),
    "Mod": _divisor(operator.mod),
    "Pow": _power,
}
ARITHMETIC = frozenset(_ARITHMETIC)


def compute(name: str, left: Number, right: Number) -> Number:
    """The result of the operator that `ast` calls `name`."""
    try:
        return checked(_ARITHMETIC[name](left, right))
    except OverflowError:
        raise ExpressionError("the result is not a finite number") from None


_ORDER: dict[str, Callable[[Number, Number], bool]] = {
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
}
COMPARISONS = frozenset({"Eq", "NotEq", "In", "NotIn", *_ORDER})


def compare(name: str, left: Any, right: Any) -> bool:
    """Any two values may be equal or not; only numbers have an order."""
    match name:
        case "Eq":
            return bool(left == right)
        case "NotEq":
            return bool(left != right)
        case "In":
            return left in right
        case "NotIn":
            return left not in right
    return _ORDER[name](number(left), number(right))


def _whole(value: Any) -> int:
    if not isinstance(value, bool):
        value = checked(number(value))
    return _bounded(int(value))


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "min": lambda *values: min(map(number, values)),
    "max": lambda *values: max(map(number, values)),
    "int": _whole,
}
