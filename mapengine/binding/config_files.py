"""What the config files of the side that is read say."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.config_values import ABSENT, ValueProblem, told, translate_back, typed
from mapengine.binding.inventory import Inventory, wildcard_match
from mapengine.language.mapping import (
    TENSOR_FILE,
    ConfigField,
    ConfigPath,
    Layout,
    Mapping,
    Side,
)
from mapengine.specs import Unread


class ConfigFiles:
    """The config files of one folder, as one layout of a mapping's side has them."""

    def __init__(self, mapping: Mapping, inventory: Inventory, side: Side, layout: Layout) -> None:
        self._inventory, self._side, self._layout = inventory, side, layout
        self._example = mapping.example or {}

    def start(self, file: str | None) -> Any:
        """Where a path starts: in a `file`, or in the main config; ABSENT where there is none."""
        main = self._side.config_file(self._layout)
        if file is not None:
            return self._loaded(file)
        if main is None:
            return ABSENT
        if main.file == TENSOR_FILE:
            return next(iter(self.inside().values()), ABSENT)
        return config_values.look_up(self._loaded(main.file), main.at)

    def _loaded(self, file: str) -> Any:
        if file in self._inventory.files:
            return self._inventory.files[file].objects
        return self._inventory.configs.get(file, ABSENT)

    def inside(self) -> dict[str, Any]:
        """The config in each tensor file, where it lies in those; all of them must be equal.

        The files are found by wildcard: their indices may have ranges that the config says.
        """
        main, names = self._side.config_file(self._layout), self._inventory.files.keys()
        found = [wildcard_match(p, frozenset(names)) for p in self._side.files(self._layout)]
        return {
            name: config_values.look_up(self._loaded(name), main.at if main else ())
            for name in sorted({name for some in found for name in some})
        }

    def at(self, path: ConfigPath) -> Any:
        """What stands at a path of the side that is read; ABSENT also for null."""
        found = config_values.look_up(self.start(path.file), path.steps)
        for one in _within(found):
            if isinstance(one, Unread):
                raise ValueProblem(f"{self._place(path)} holds {one}, which is no plain value")
        return ABSENT if found is None else found

    def read(self, field: ConfigField) -> tuple[Any, str]:
        """A field's value in the files, and where it stands; all its paths must agree."""
        found = [(p, self.at(p)) for p in field.paths(self._side.name, self._layout)]
        there = [(path, value) for path, value in found if value is not ABSENT]
        if not there:
            return ABSENT, ""
        path, value = there[0]
        for other, second in there[1:]:
            if not config_values.equal(value, second):
                first = f"{self._place(path)} is {told(value)}"
                raise ValueProblem(f"{first}, but {self._place(other)} is {told(second)}")
        origin = self._place(path)
        if self._side.name == "target":
            value = field.each_of(value, lambda one: translate_back(one, field.words, origin))
        return self.typed(field, value, origin), origin

    def typed(self, field: ConfigField, value: Any, origin: str) -> Any:
        example = self._example.get(field.name)
        if value is None or field.each is None:
            return value if value is None else typed(value, field.type, example, origin)
        if not isinstance(value, list):
            raise ValueProblem(f"{origin} is {told(value)}, where a list is wanted: {field.each}")
        one = example[0] if isinstance(example, list) and example else None
        return [typed(v, field.type, one, f"{origin}[{i}]") for i, v in enumerate(value)]

    def _place(self, path: ConfigPath) -> str:
        main = self._side.config_file(self._layout)
        return str(path) if path.file else f"{main.file if main else '?'}: {path}"


def _within(value: Any) -> Iterator[Any]:
    """A value, and all that it is made of."""
    yield value
    if isinstance(value, AnyMapping | list | tuple):
        for one in value.values() if isinstance(value, AnyMapping) else value:
            yield from _within(one)
