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
from mapengine.binding.config_values import ABSENT, ValueProblem, told, translate_back, typed
from mapengine.binding.inventory import Inventory, ResolvedFile, resolve, wildcard_match
from mapengine.errors import Problem, suggest
from mapengine.fold import suggest_key
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import (
    MISSING,
    TENSOR_FILE,
    ConfigField,
    ConfigPath,
    FilePattern,
    Layout,
    Mapping,
)
from mapengine.language.patterns import KeyPattern
from mapengine.language.reader import read_path
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


class AsksHeaders(ValueProblem):
    """An expression asks the headers of a side that is written, and so not there yet."""


class UnboundName(Exception):
    """A name has no value, for a reason that is already on the list of problems."""


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
        there = any(self.at(path) is not ABSENT for path in read)
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
            value = self._typed(field, self.settings.values[name], said)
            return value, "the example" if own else "--set"
        found, origin = self.read(field)
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

    # -- the config that is read --------------------------------------------------------------

    def config(self, file: str | None) -> Any:
        """The object a path without a file, or with one, starts at; ABSENT where there is none."""
        main = self.side.config_file(self.layout)
        if file is not None:
            return self._loaded(file)
        if main is None:
            return ABSENT
        if main.file == TENSOR_FILE:
            return next(iter(self.configs_inside().values()), ABSENT)
        return config_values.look_up(self._loaded(main.file), main.at)

    def _loaded(self, file: str) -> Any:
        if file in self.inventory.files:
            return self.inventory.files[file].objects
        return self.inventory.configs.get(file, ABSENT)

    def configs_inside(self) -> dict[str, Any]:
        """The config in each tensor file, where it lies in those; all of them must be equal.

        The files are found by wildcard: their indices may have ranges that the config says.
        """
        main, names = self.side.config_file(self.layout), self.inventory.files.keys()
        found = [wildcard_match(p, frozenset(names)) for p in self.side.files(self.layout)]
        return {
            name: config_values.look_up(self._loaded(name), main.at if main else ())
            for name in sorted({name for some in found for name in some})
        }

    def at(self, path: ConfigPath) -> Any:
        """What stands at a path of the side that is read; ABSENT also for null."""
        found = config_values.look_up(self.config(path.file), path.steps)
        return ABSENT if found is None else found

    def read(self, field: ConfigField) -> tuple[Any, str]:
        """A field's value in the files, and where it stands; all its paths must agree."""
        found = [(p, self.at(p)) for p in field.paths(self.side.name, self.layout)]
        there = [(path, value) for path, value in found if value is not ABSENT]
        if not there:
            return ABSENT, ""
        path, value = there[0]
        for other, second in there[1:]:
            if not config_values.equal(value, second):
                first = f"{self._place(path)} is {told(value)}"
                raise ValueProblem(f"{first}, but {self._place(other)} is {told(second)}")
        origin = self._place(path)
        if self.side.name == "target":
            value = field.each_of(value, lambda one: translate_back(one, field.words, origin))
        return self._typed(field, value, origin), origin

    def _typed(self, field: ConfigField, value: Any, origin: str) -> Any:
        example = (self.mapping.example or {}).get(field.name)
        if value is None or field.each is None:
            return value if value is None else typed(value, field.type, example, origin)
        if not isinstance(value, list):
            raise ValueProblem(f"{origin} is {told(value)}, where a list is wanted: {field.each}")
        one = example[0] if isinstance(example, list) and example else None
        return [typed(v, field.type, one, f"{origin}[{i}]") for i, v in enumerate(value)]

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

    def _place(self, path: ConfigPath) -> str:
        main = self.side.config_file(self.layout)
        return str(path) if path.file else f"{main.file if main else '?'}: {path}"

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

    def call(self, function: str, *args: Any) -> Any:
        """The questions of the expression language: to the config, and to the headers."""
        if function == "has":
            return self.at(read_path(args[0])) is not ABSENT
        if function == "length":
            return self._length(args[0])
        self._check_read(function, args)
        if function == "count":
            return self._count(args[0])
        stored = self.tensors().get(args[0])
        if function == "present":
            return stored is not None
        if stored is None:
            message = f"there is no tensor {args[0]} in {self.inventory.folder}"
            raise ValueProblem(message, suggest_key(args[0], self.tensors()))
        if function == "size":
            if not 0 <= args[1] < len(stored.spec.shape):
                raise ValueProblem(f"{args[0]} is {stored.spec}: there is no axis {args[1]}")
            return stored.spec.shape[args[1]]
        return self.written_dtype(stored.spec.dtype)

    def _length(self, path: str) -> int:
        found = self.at(read_path(path))
        if isinstance(found, list | tuple | AnyMapping):
            return len(found)
        held = "nothing" if found is ABSENT else told(found)
        raise ValueProblem(f"{path} is {held}, where a list or an object is wanted")

    def _check_read(self, function: str, args: Sequence[Any]) -> None:
        """Headers are asked in the words of the source: on the way back it is not there yet."""
        if self.side.name != "source":
            asked = f"{function}({', '.join(map(repr, args))})"
            message = f"{asked} asks the headers of the source, which is what is written"
            raise AsksHeaders(message, "--set the name it is asked for")

    def written_dtype(self, dtype: str) -> str:
        """What a tensor of `dtype` is written as, where no rule casts it."""
        wanted = self.settings.dtype or self.other.dtype
        return wanted if wanted and DTYPES[dtype].floating else dtype

    def _count(self, text: str) -> int:
        pattern = FilePattern(KeyPattern.parse(text), None, self.side.where)
        files = wildcard_match(pattern, self.inventory.names)
        return len(files) or len(wildcard_match(pattern, frozenset(self.tensors())))

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
        return self.names.call(function, *args)
