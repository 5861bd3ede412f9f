"""Tensors that the mapping itself says: what a rule without a source makes."""

from __future__ import annotations

import math

from mapengine.binding.config_values import ValueProblem, told
from mapengine.binding.names import ModelNames
from mapengine.binding.questions import AsksHeaders
from mapengine.language.expressions import Expression
from mapengine.language.mapping import Constant
from mapengine.planning.expand import Step
from mapengine.specs import DTYPES
from mapengine.views import Filled, View

_FLOATS = {
    "float8_e4m3fn": (448.0, 4), "float8_e5m2": (57344.0, 3), "float16": (65504.0, 11),
    "bfloat16": (2.0**128 - 2.0**120, 8), "float32": (2.0**128 - 2.0**104, 24),
    "complex64": (2.0**128 - 2.0**104, 24), "float64": (math.inf, 53),
}  # fmt: skip
"""The largest number of a dtype, and how many binary digits its numbers have."""


def constant_of(
    constant: Constant,
    shape: tuple[int, ...],
    names: ModelNames,
    step: Step,
    found: str | None = None,
) -> View:
    """The tensor of a rule without a source, at one step. Raises `ExpressionError`.

    On the way back, where it was `found` in a dtype, that stands in for the one of a source's
    tensor: there is none yet to be asked.
    """
    try:
        dtype = _evaluated(constant.dtype, names, step)
    except AsksHeaders:
        if found is None:
            raise
        dtype = found
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueProblem(f"dtype is {told(dtype)}, where a dtype is wanted")
    value = _evaluated(constant.value, names, step)
    if value == "tril" and len(shape) < 2:
        raise ValueProblem(f"tril is of matrices, and the shape is {list(shape)}")
    if value in ("zeros", "ones"):
        value = int(value == "ones")
    if value in ("arange", "tril"):
        _check_number(0, dtype)
        _check_counted(2 if value == "tril" else math.prod(shape), dtype)
    elif isinstance(value, int | float):
        value = _check_number(value, dtype)
    else:
        raise ValueProblem(f"value is {told(value)}, where a number is wanted")
    return View.of(Filled(value, shape, dtype))


def _evaluated(one: str | Expression, names: ModelNames, step: Step) -> object:
    return names.evaluate(one, step.indices) if isinstance(one, Expression) else one


def _check_number(value: float, dtype: str) -> float:
    """The number as one of the dtype. Raises `ValueProblem` where there is none near it."""
    if dtype not in _FLOATS:
        low, high = _whole_numbers(dtype)
        if not (low <= value <= high and value == int(value)):
            raise ValueProblem(f"{value:g} is no {dtype}")
        return int(value)
    if math.isnan(value):
        raise ValueProblem("value is no number")
    infinite = math.isinf(value) and dtype != "float8_e4m3fn"  # that has no infinity
    if abs(value) > _FLOATS[dtype][0] and not infinite:
        raise ValueProblem(f"{value:g} does not fit {dtype}")
    return value + 0  # no negative zero


def _check_counted(count: int, dtype: str) -> None:
    """Raises `ValueProblem` unless every number below `count` is one of the dtype."""
    most = 2 ** _FLOATS[dtype][1] + 1 if dtype in _FLOATS else _whole_numbers(dtype)[1] + 1
    if count > most:
        message = f"{dtype} has not all the numbers up to {count - 1:,}"
        raise ValueProblem(message, "another dtype counts further")


def _whole_numbers(dtype: str) -> tuple[int, int]:
    """The smallest and the largest number of a dtype that is not floating."""
    if dtype == "float8_e8m0fnu":
        return 1, 1  # it has no zero
    bits = 8 * DTYPES[dtype].size
    if dtype == "bool":
        return 0, 1
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
