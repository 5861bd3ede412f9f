"""What becomes of one name, and why: a tensor's key, a config field, a word of the language.

Everything is looked up in what planning works out anyway; nothing is opened and nothing printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mapengine.binding.inventory import Inventory
from mapengine.binding.names import Settings
from mapengine.errors import NotFoundError, Problem
from mapengine.explanation.fields import FieldExplained, field_names, fields_called
from mapengine.explanation.known import Known, Remark, models
from mapengine.explanation.nearest import nearest
from mapengine.explanation.remarks import remarks_on
from mapengine.explanation.tensors import TensorExplained, keys_of, tensors_called
from mapengine.explanation.words import WordExplained, word_called, words
from mapengine.language.mapping import Layout, Mapping

Explained = TensorExplained | FieldExplained | Remark | WordExplained

__all__ = ["Explained", "ask", "ask_language", "is_wrong"]


def ask(
    mapping: Mapping,
    inventory: Inventory | None,
    settings: Settings,
    layout: Layout | None,
    read: str,
    name: str,
) -> list[Explained]:
    """All that a name is in one model: in the first layout of the example that has it.

    Raises `MapengineError` where the model is none of the mapping's, and `NotFoundError` with the
    nearest names.
    """
    others: list[str] = []
    for known in models(mapping, inventory, settings, layout, read):
        if found := _found(known, name):
            return found
        others = others or list(_names(known))
    if (word := word_called(name)) is not None:
        return [word]
    problem = _nothing(f"{mapping.name} has nothing", name, [*others, *words()])
    raise NotFoundError(problem)


def ask_language(name: str) -> Explained:
    """What a word of the language means. Raises `NotFoundError` with the nearest ones."""
    if (word := word_called(name)) is not None:
        return word
    problem = _nothing("the language has nothing", name, words())
    help = f"{problem.help}; of a mapping: mapengine explain MAPPING NAME".removeprefix("; ")
    raise NotFoundError(replace(problem, help=help))


def is_wrong(one: Explained) -> bool:
    """Whether what was found is a finding: a tensor without a rule, a rule that does not fit."""
    if isinstance(one, WordExplained):
        return False
    return one.kind == "unmapped" if isinstance(one, Remark) else bool(one.problems)


def _found(known: Known, name: str) -> list[Explained]:
    found: list[Explained] = [*tensors_called(known, name), *fields_called(known, name)]
    return found or [*remarks_on(known, name)]


def _names(known: Known) -> Iterator[str]:
    yield from keys_of(known)
    yield from field_names(known)


def _nothing(subject: str, name: str, known: list[str]) -> Problem:
    near = nearest(name, known)
    help = f"nearest: {', '.join(near)}" if near else ""
    return Problem("ME108", f"{subject} called {name!r}", help=help)
