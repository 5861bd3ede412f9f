"""The names of a mapping, worked out for one checkpoint in one layout.

A name is worked out when it is first asked for, in this order: what the user set, the file, a
preset, a constant, an expression, the default of the side that is read.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.config_files import ConfigFiles
from mapengine.binding.config_values import ABSENT, ValueProblem, told
from mapengine.binding.inventory import Inventory, ResolvedFile, resolve
from mapengine.binding.questions import AsksHeaders
from mapengine.binding.scope import Scope
from mapengine.errors import Problem
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import (
    MISSING,
    ConfigField,
    Layout,
    Mapping,
)
from mapengine.specs import DTYPES
from mapengine.views import Content

LARGEST_RANGE = 1_000_000
"""More members than any index of a real model has: a larger size in a config is a lie."""


@dataclass(frozen=True)
class Settings:
    """What the user says beside the files: `--set`, `--preset`, `--dtype`.

    Of `values`, those in `example` are the mapping's own, and set to try it.
    """

    values: AnyMapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    dtype: str | None = None
    example: AbstractSet[str] = frozenset()


class UnboundName(Exception):
    """A name has no value, for a reason that is already on the list of problems."""


class ModelNames:
    """The names of one mapping for one folder in one layout; collects problems on the way."""

    def __init__(
        self,
        mapping: Mapping,
        inventory: Inventory,
        layout: Layout,
        settings: Settings,
        read: str = "source",
    ) -> None:
        self.mapping, self.inventory, self.layout, self.settings = (
            mapping, inventory, layout, settings,
        )  # fmt: skip
        self.side = mapping.sides[read]
        self.other = mapping.sides["target" if read == "source" else "source"]
        self.config = ConfigFiles(mapping, inventory, self.side, layout)
        self.known = mapping.fields.keys()
        self.problems: list[Problem] = []
        self.missing: list[str] = []
        self.origins: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._ranges: dict[str, range] = {}
        self._working: list[str] = []
        self.failed: set[str] = set()
        self._tensors: dict[str, Content] | None = None

    # -- names ------------------------------------------------------------------------------

    def value(self, name: str) -> Any:
        """The value of a config name. Raises `UnboundName` after noting why there is none."""
        if name in self._values:
            return self._values[name]
        if name in self.failed:
            raise UnboundName
        where = self.mapping.fields[name].where
        if name in self._working:
            cycle = " needs ".join([*self._working[self._working.index(name) :], name])
            self._fail(name, Problem("ME404", f"{cycle}", where, f"config.{name}"))
        self._working.append(name)
        try:
            value, origin = self._work_out(self.mapping.fields[name])
            self._check_length(self.mapping.fields[name], value, origin)
        except ExpressionError as error:
            place = error.where or where
            self._fail(name, Problem("ME405", f"{error}", place, f"config.{name}", error.help))
        except UnboundName:
            self.failed.add(name)
            raise
        finally:
            self._working.pop()
        self.origins[name] = origin
        self._values[name] = value
        return value

    def wants(self, field: ConfigField, named: AbstractSet[str]) -> bool:
        """Whether a field must have a value: there is one, it is written, or it is `named`."""
        when = field.whens.get(self.other.name)
        if when is not None and self.evaluate(when) is False:
            return False
        read, written = (field.paths(side.name, self.layout) for side in (self.side, self.other))
        there = any(self.config.at(path) is not ABSENT for path in read)
        return there or bool(written) or field.name in named

    def _fail(self, name: str, problem: Problem | None) -> None:
        if problem:
            self.problems.append(problem)
        self.failed.add(name)
        raise UnboundName

    def _work_out(self, field: ConfigField) -> tuple[Any, str]:
        name = field.name
        preset = self._preset().get(name, MISSING)
        if name in self.settings.values:
            own = name in self.settings.example
            said = f"the example's {name}" if own else f"--set {name}"
            value = self.config.typed(field, self.settings.values[name], said)
            return value, "the example" if own else "--set"
        found, origin = self.config.read(field)
        if found is not ABSENT:
            if preset is not MISSING and not config_values.equal(preset, found):
                raise ValueProblem(
                    f"{origin} is {told(found)}, preset {self.settings.preset} says {told(preset)}",
                    f"--set {name}=VALUE decides",
                )
            return found, origin
        value, origin = self._without_a_file(field, preset)
        if field.type is not None and value is not None and field.each is None:
            value = config_values.typed(value, field.type, None, f"{name}, {origin}")
        return value, origin

    def _without_a_file(self, field: ConfigField, preset: Any) -> tuple[Any, str]:
        """The value of a field that no file and no `--set` says."""
        constant = field.value.at(self.layout)
        if preset is not MISSING:
            return preset, f"preset {self.settings.preset}"
        if constant is not MISSING:
            return constant, "constant"
        default = self._default(field)
        if field.compute is not None:
            try:
                return self.evaluate(field.compute), f"computed: {field.compute.text}"
            except AsksHeaders:  # then the default, or the user, stands in
                default = default or field.defaults.get("source")
        if default is None:
            self.missing.append(field.name)
            self._fail(field.name, None)
            raise AssertionError
        return self.evaluate(default), f"the default, {default.text}"

    def _default(self, field: ConfigField) -> Expression | None:
        """What absence means: on the side that is read, or else on the only side it has."""
        default = field.defaults.get(self.side.name)
        if default is None and not field.paths(self.side.name, self.layout):
            default = field.defaults.get(self.other.name)
        return default

    def _preset(self) -> AnyMapping[str, Any]:
        name = self.settings.preset
        return self.mapping.presets.get(name, {}) if name else {}

    def evaluate(self, expression: Expression, indices: AnyMapping[str, Any] | None = None) -> Any:
        return expression.evaluate(Scope(self, indices or {}))

    def holds(self, when: Expression, indices: AnyMapping[str, Any] | None = None) -> bool:
        """Whether a condition holds. Raises `ValueProblem` for what is no condition."""
        value = self.evaluate(when, indices)
        if not isinstance(value, bool):
            raise ValueProblem(f"`when` must be true or false, and is {told(value)}")
        return value

    def _check_length(self, field: ConfigField, value: Any, origin: str) -> None:
        if field.each is None or value is None:
            return
        if not isinstance(value, list):
            message = f"{origin} is {told(value)}, where a list is wanted: {field.each}"
            raise ValueProblem(message, "a list comes from a path, a preset, `--set` or `value`")
        wanted = self.range_of(field.each)
        if wanted is not None and len(value) != len(wanted):
            goes = f"{field.each} goes to {len(wanted)}"
            raise ValueProblem(f"{origin} has {len(value)} values, {goes}")

    # -- the headers that are read ------------------------------------------------------------

    def tensors(self) -> dict[str, Content]:
        """The tensors of this layout's files by key, as they stand in the files."""
        if self._tensors is None:
            self._tensors, root = {}, self.side.root_in(self.layout)
            for file in self.files()[0]:
                contents = self.inventory.files.get(file.name)
                for key, stored in (contents.tensors if contents else {}).items():
                    if key.startswith(root):
                        key = file.prefix + key.removeprefix(root)
                        self._tensors.setdefault(key, stored)
        return self._tensors

    def files(self) -> tuple[list[ResolvedFile], list[Problem]]:
        """The tensor files of this layout, and what is wrong with them."""
        names = frozenset(n for n in self.inventory.names if not n.endswith(".json"))
        patterns = self.side.files(self.layout)
        return resolve(patterns, names, self.range_of, lambda indices: Scope(self, indices))

    def written_dtype(self, dtype: str) -> str:
        """What a tensor of `dtype` is written as, where no rule casts it."""
        wanted = self.settings.dtype or self.other.dtype
        return wanted if wanted and DTYPES[dtype].floating else dtype

    # -- ranges -------------------------------------------------------------------------------

    def range_of(self, index: str) -> Sequence[int | str] | None:
        """The values of an index: its words, or 0 to its size; None if `dims` has no such one."""
        size = self.mapping.dims.get(index)
        if size is None or isinstance(size, tuple):
            return size
        if index in self.failed:
            raise UnboundName
        if index not in self._ranges:
            self._ranges[index] = self._range(index, size)
        return self._ranges[index]

    def _range(self, index: str, size: Expression) -> range:
        try:
            count = self.evaluate(size)
            if type(count) is int and 0 <= count <= LARGEST_RANGE:
                return range(count)
            help = self.sources(size)
            if isinstance(count, list):
                idiom = f"`when: {index} < {size.text}` in its rules"
                help = f"an index has one size: the largest, with {idiom}; {help}"
            raise ValueProblem(f"{told(count)} is no size of an index", help)
        except ExpressionError as error:
            where = error.where or self.mapping.document.where(("dims", index))
            self._fail(index, Problem("ME405", str(error), where, f"dims.{index}", error.help))
            raise AssertionError from None

    def indices_of(self, names: AbstractSet[str]) -> frozenset[str]:
        """The indices at which `names` may have other values: themselves, and those of lists."""
        fields = self.mapping.fields
        each = {fields[name].each for name in names if name in fields}
        return frozenset(index for index in self.mapping.dims if index in names or index in each)

    def sources(self, expression: Expression) -> str:
        """What the names of an expression are, and where that stands."""
        names = sorted(expression.names & self.known)
        return "; ".join(f"{n} is {told(self.value(n))} ({self.origins[n]})" for n in names)
