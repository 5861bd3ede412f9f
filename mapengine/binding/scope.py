"""What an expression sees."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import TYPE_CHECKING, Any

from mapengine.binding.config_values import ValueProblem
from mapengine.binding.questions import answer
from mapengine.errors import suggest
from mapengine.language.mapping import Layout

if TYPE_CHECKING:
    from mapengine.binding.names import ModelNames


class ChosenLayout(str):
    """What `layout` is in an expression: equal to the name of any layout that was chosen."""

    __slots__ = ("layout",)
    layout: Layout

    @staticmethod
    def of(layout: Layout) -> ChosenLayout:
        chosen = ChosenLayout("+".join(sorted(layout)))
        chosen.layout = layout
        return chosen

    def __eq__(self, other: object) -> bool:
        return other in self.layout

    def __ne__(self, other: object) -> bool:
        return other not in self.layout

    __hash__ = str.__hash__


class Scope:
    """What an expression sees: indices first, then config names, then the headers."""

    def __init__(self, names: ModelNames, indices: AnyMapping[str, Any]) -> None:
        self.names, self.indices, self.known = names, indices, names.known

    def name(self, name: str) -> Any:
        if name in self.indices:
            return self.indices[name]
        if name == "layout":
            return ChosenLayout.of(self.names.layout)
        if name not in self.names.known:
            hint = suggest(name, [*self.indices, *self.names.known])
            raise ValueProblem(f"there is no name {name!r}", hint)
        value = self.names.value(name)
        each = self.names.mapping.fields[name].each
        at = self.indices.get(each) if each is not None else None
        return value if at is None or not isinstance(value, list) else value[at]

    def call(self, function: str, *args: Any) -> Any:
        return answer(self.names, function, *args)
