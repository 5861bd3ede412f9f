"""Values in config objects: looking up, converting, comparing, writing. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mapengine.errors import suggest
from mapengine.language.arithmetic import ExpressionError

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "ABSENT", "__slots__": ()})()
"""No value, as opposed to null."""


class ValueProblem(ExpressionError):
    """A config value, or a name, that cannot be."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message, help=help)


def told(value: Any) -> str:
    """A value as JSON has it, short."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:56]}..."


def look_up(config: Any, steps: Sequence[str]) -> Any:
    """What stands at `steps` of nested objects; ABSENT where a step is missing."""
    for step in steps:
        if not isinstance(config, Mapping) or step not in config:
            return ABSENT
        config = config[step]
    return config


def put(config: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    """Writes `value` at `steps`, making the objects on the way."""
    for step in steps[:-1]:
        inner = config.setdefault(step, {})
        if not isinstance(inner, dict):
            raise ValueProblem(f"{'.'.join(steps)} goes through {step!r}, which is {told(inner)}")
        config = inner
    last = config.get(steps[-1])
    if isinstance(last, dict) and isinstance(value, dict):
        config[steps[-1]] = {**value, **last}
    else:
        config[steps[-1]] = value


def leaves(config: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value that is not itself an object; of empty objects too."""
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            if not isinstance(key, str):
                raise ValueProblem(f"a config has keys that are text, and {key!r} is none")
            yield from leaves(value, (*steps, key))
    elif steps:
        yield steps


def equal(a: Any, b: Any) -> bool:
    """Equal in value and kind: 1 is 1.0, but neither is true."""
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


def typed(value: Any, type: str | None, example: Any, origin: str) -> Any:
    """`value` converted to its declared `type`; without one, of the kind the example has."""
    if type is not None:
        return _converted(value, type, origin)
    if isinstance(example, bool) and not isinstance(value, bool):
        help = "correct it, or give the field a `type`, which converts on reading"
        raise ValueProblem(f"{origin} is {told(value)}, where true or false is wanted", help)
    number = isinstance(example, int | float) and not isinstance(example, bool)
    if number and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueProblem(
            f"{origin} is {told(value)}, where a number is wanted",
            "correct it, or give the field a `type`, which converts on reading",
        )
    if isinstance(example, int) and isinstance(value, float):
        raise ValueProblem(f"{origin} is {told(value)}, where a whole number is wanted")
    return value


def _converted(value: Any, type: str, origin: str) -> Any:
    wrong = ValueProblem(f"{origin} is {told(value)}, which is no {type}")
    if type == "str":
        if isinstance(value, list | dict | bool):
            raise wrong
        return str(value)
    if type == "bool":
        words = {"true": True, "false": False}
        value = words.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise wrong
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    try:
        number = float(value) if type == "float" else _whole(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if isinstance(number, float) and math.isnan(number):
        raise wrong
    return number


def _whole(value: int | float | str) -> int:
    if isinstance(value, str):
        return int(value)
    if value != int(value):
        raise ValueError
    return int(value)


def translate(value: Any, words: Mapping[Any, Any], origin: str) -> Any:
    """A value of the source in the target's words."""
    if not words or value is None:
        return value
    for word, translation in words.items():
        if equal(word, value):
            return translation
    raise _unknown_word(value, words, origin)


def translate_back(value: Any, words: Mapping[Any, Any], origin: str) -> Any:
    """A value of the target in the source's words: the first that is translated to it."""
    for word, translation in words.items():
        if equal(translation, value):
            return word
    if words and value is not None:
        raise _unknown_word(value, words.values(), origin)
    return value


def _unknown_word(value: Any, words: Iterable[Any], origin: str) -> ValueProblem:
    known = list(words)
    listed = [word if _is_word(word) and _is_word(value) else told(word) for word in known]
    message = f"{origin} is {told(value)}, which is none of {', '.join(listed)}"
    if told(value) in known and not _is_word(value):
        return ValueProblem(message, f"what is in quotes is a word: write {told(value)} without")
    return ValueProblem(message, suggest(str(value), filter(_is_word, known)))


def _is_word(value: Any) -> bool:
    return isinstance(value, str)
