"""The questions of the expression language: `has`, `length`, `count`, `size` and their kin."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mapengine.binding.config_values import ABSENT, ValueProblem, told
from mapengine.binding.inventory import wildcard_match
from mapengine.fold import suggest_key
from mapengine.language.mapping import FilePattern
from mapengine.language.patterns import KeyPattern
from mapengine.language.reader import read_path

if TYPE_CHECKING:
    from mapengine.binding.names import ModelNames


EXAMPLE = "the example"
"""What the example is called as a folder. It has no tensors as long as it is being made."""


class AsksHeaders(ValueProblem):
    """An expression asks the headers of a side that is written, and so not there yet."""


def answer(names: ModelNames, function: str, *args: Any) -> Any:
    """What a function of the expression language says of the config, or of the headers."""
    if function == "has":
        return names.config.at(read_path(args[0])) is not ABSENT
    if function == "length":
        return _length(names, args[0])
    _check_read(names, function, args)
    if function == "count":
        return _count(names, args[0])
    stored = names.tensors().get(args[0])
    if function == "present":
        return stored is not None
    if stored is None and names.inventory.folder == EXAMPLE and not names.tensors():
        asked = f"{function}({', '.join(map(repr, args))})"
        help = "give the name that asks a value under `example:`"
        raise ValueProblem(f"{asked} asks a tensor of the example before it is made", help)
    if stored is None:
        message = f"there is no tensor {args[0]} in {names.inventory.folder}"
        raise ValueProblem(message, suggest_key(args[0], names.tensors()))
    if function == "size":
        if not 0 <= args[1] < len(stored.spec.shape):
            raise ValueProblem(f"{args[0]} is {stored.spec}: there is no axis {args[1]}")
        return stored.spec.shape[args[1]]
    return names.written_dtype(stored.spec.dtype)


def _length(names: ModelNames, path: str) -> int:
    found = names.config.at(read_path(path))
    if isinstance(found, list | tuple | AnyMapping):
        return len(found)
    held = "nothing" if found is ABSENT else told(found)
    raise ValueProblem(f"{path} is {held}, where a list or an object is wanted")


def _check_read(names: ModelNames, function: str, args: Sequence[Any]) -> None:
    """Headers are asked in the words of the source: on the way back it is not there yet."""
    if names.side.name != "source":
        asked = f"{function}({', '.join(map(repr, args))})"
        message = f"{asked} asks the headers of the source, which is what is written"
        raise AsksHeaders(message, "--set the name it is asked for")


def _count(names: ModelNames, text: str) -> int:
    pattern = FilePattern(KeyPattern.parse(text), None, names.side.where)
    files = wildcard_match(pattern, names.inventory.names)
    return len(files) or len(wildcard_match(pattern, frozenset(names.tensors())))
