"""The small checkpoint that a mapping's `example:` describes, in any of its layouts.

The example gives the names values; the rules' patterns and shapes say which tensors the source
has, and the fields where its config keeps what. All of it as values, so that a mapping can be
planned with no file at all; `example_files` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.binding import bind
from mapengine.binding.config_values import told
from mapengine.binding.inventory import Address, Inventory, ResolvedFile
from mapengine.binding.names import ModelNames, Settings, UnboundName
from mapengine.binding.outputs import home, output_files
from mapengine.binding.questions import EXAMPLE
from mapengine.errors import MappingError, Problem
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import MISSING, Layout, Mapping
from mapengine.planning.budget import leaves
from mapengine.planning.coverage import drop_absent
from mapengine.planning.expand import Step, expand
from mapengine.planning.lowering import lower, shape_of
from mapengine.planning.sharding import Shards, is_inside, with_objects
from mapengine.specs import (
    FileContents,
    StoredTensor,
    TensorLocation,
    TensorSpec,
    contiguous_strides,
)
from mapengine.views import View

DTYPE = "bfloat16"
"""What example tensors are stored in, where their rule does not say."""
_MOST_KEYS = 100_000
_MOST_ELEMENTS = 2**24


@dataclass(frozen=True, slots=True)
class Example:
    """The example as a folder would show it: names, headers and config.

    `like` is, of each tensor by file and key, the key whose values it has: its own with what its
    file says of it, or another tensor's that it must be equal to, as a tied head must be its table.
    """

    inventory: Inventory
    like: dict[tuple[str, str], str]


def example_inventory(mapping: Mapping, layout: Layout) -> Inventory:
    """What `make_example` shows of it."""
    return make_example(mapping, layout).inventory


def make_example(mapping: Mapping, layout: Layout) -> Example:
    """Raises `MappingError` where the mapping has no example, or it cannot be made."""
    if mapping.example is None:
        where = mapping.document.where(())
        message = "the mapping has no `example:` to make a checkpoint from"
        raise MappingError(Problem("ME221", message, where, help="add one, or name a --source"))
    files = _file_names(mapping, layout)
    configs = _config(mapping, layout)
    inside = {name: configs.pop(name) for name in [*configs] if is_inside(name)}
    named: Shards = [(file.name, ()) for file in files]
    empty = {
        name: FileContents(0, {}, objects)
        for name, _, objects in with_objects(named, inside, mapping.source)
    }
    bare = Inventory(EXAMPLE, frozenset({*empty, *configs}), empty, configs)
    binding = bind(mapping, bare, layout, _said(mapping))
    _check_complete(binding.names)
    _check_sizes(binding.names)
    expansion = expand(binding, keys=_MOST_KEYS)
    if expansion.problems:  # what is wrong with the binding is told when the example is planned
        raise MappingError(*expansion.problems)
    by_file: dict[str, dict[str, StoredTensor]] = {name: {} for name in empty}
    root, like = mapping.source.root_in(layout), dict[tuple[str, str], str]()
    for step in (one for one in expansion.steps if one.rule.sources):
        same_as = dict(_same_as(step))
        for address, spec in _specs(step, binding.names).items():
            found = home(address, binding.ranks, files, root)
            if found is None:
                message = f"{address[0]} belongs to no file of the example"
                raise MappingError(Problem("ME223", message, mapping.source.where))
            name, key = found
            strides = contiguous_strides(spec.shape)
            by_file[name][key] = StoredTensor(spec, TensorLocation(name, 0, strides))
            like[name, key] = root + same_as[address]
    contents = {name: replace(empty[name], tensors=held) for name, held in by_file.items()}
    _check_small(mapping, contents)
    return Example(Inventory(EXAMPLE, bare.names, contents, configs), like)


def _check_small(mapping: Mapping, files: dict[str, FileContents]) -> None:
    """An example is tried in a moment, and every element of it numbered in memory."""
    elements = sum(one.spec.numel for file in files.values() for one in file.tensors.values())
    if elements > _MOST_ELEMENTS:
        message = f"it makes {elements:,} elements, and at most {_MOST_ELEMENTS:,} are made"
        where = mapping.document.where_key(("example",))
        raise MappingError(Problem("ME223", message, where, "example", "give it smaller sizes"))


def _same_as(step: Step) -> Iterator[tuple[Address, str]]:
    """Of each source of a step the first one's key that it must be equal to."""
    fans = {call.arguments.get("over") for call in step.rule.ops if call.name == "same"}
    first: dict[tuple[int | str, ...], str] = {}
    for indices, address in zip(product(*step.sources.ranges), step.sources.members, strict=True):
        named = zip(step.sources.labels, indices, strict=True)
        yield address, first.setdefault(tuple(i for n, i in named if n not in fans), address[0])


def must_be_zero(mapping: Mapping, layout: Layout, inventory: Inventory) -> list[View]:
    """What of the example's tensors ops cut off, after checking that it is zero."""
    binding = bind(mapping, inventory, layout, example_settings(mapping, layout))
    lowered = lower(drop_absent(expand(binding).steps, binding), binding)
    cuts = (out.content for out in lowered.left_out if not out.unchecked)
    return [leaf for cut in cuts for leaf in leaves(cut)]


def example_settings(mapping: Mapping, layout: Layout, read: str = "source") -> Settings:
    """What of the example no file of the side that is read can say, and so must be set.

    What is computed is not: a formula that asks the headers of the source is tried by the example.
    """
    values = {}
    for name, value in (mapping.example or {}).items():
        field = mapping.fields.get(name)
        if field is None or field.paths(read, layout):
            continue
        if field.compute is None or read == "target":
            values[name] = value
    return Settings(values, example=frozenset(values))


def _said(mapping: Mapping) -> Settings:
    """All that the example says, as if it were set."""
    values = dict(mapping.example or {})
    return Settings(values, example=frozenset(values))


def check_formulas(names: ModelNames) -> None:
    """Raises `MappingError` where what is computed from the example is not what it says."""
    mapping, problems = names.mapping, []
    for name, said in (mapping.example or {}).items():
        field = mapping.fields[name]
        if field.compute is None or name in names.settings.values:
            continue
        with suppress(UnboundName):  # the plan says why there is none
            if not config_values.equal(value := names.value(name), said):
                wanted = f"and the example says {told(said)}"
                message = f"{field.compute.text} is {told(value)}, {wanted}"
                problems.append(Problem("ME226", message, field.where, f"config.{name}.compute"))
    if problems:
        raise MappingError(*problems)


def _check_complete(names: ModelNames) -> None:
    """Refuses an example that leaves a name without a value."""
    mapping = names.mapping
    if names.missing:
        where = mapping.document.where_key(("example",))
        message = f"nothing gives {', '.join(names.missing)} a value"
        help = f"write {', '.join(f'{name}: ...' for name in names.missing)} in it"
        raise MappingError(Problem("ME221", message, where, "example", help))


def _check_sizes(names: ModelNames) -> None:
    """Refuses an example in which an index has no values, and none of its rules is tried."""
    mapping, problems = names.mapping, []
    rules = [rule for rule in mapping.rules if rule.holds_in(names.layout)]
    for index, size in mapping.dims.items():
        named = [r for r in rules if any(index in p.names for p in (*r.sources, *r.targets))]
        try:
            if isinstance(size, Expression) and named and not names.range_of(index):
                others = f" and {len(named) - 1} more" if len(named) > 1 else ""
                message = f"{size.text} is 0 in the example: {named[0]}{others} would not be tried"
                fields = sorted(size.names & mapping.fields.keys())
                given = f"give {' and '.join(fields)} in `example`"
                help = f"{given}: before it is made, a count is 0" if fields else ""
                where = mapping.document.where(("dims", index))
                problems.append(Problem("ME228", message, where, f"dims.{index}", help))
        except UnboundName:
            problems += [one for one in names.problems if one.path == f"dims.{index}"]
    if problems:
        raise MappingError(*problems)


def _specs(step: Step, names: ModelNames) -> dict[Address, TensorSpec]:
    rule = step.rule
    if not rule.shapes:
        message = "the rule states no shape, so no example can be made of it"
        help = "add `shape: [...]`, in config names"
        raise MappingError(Problem("ME222", message, rule.where, rule.path, help))
    each = len(step.sources.members) // len(rule.sources)
    specs = {}
    for i, address in enumerate(step.sources.members):
        try:
            shape = shape_of(rule.shapes[i // each], names, step)
        except ExpressionError as error:
            where, path = error.where or rule.where, f"{rule.path}.shape"
            raise MappingError(Problem("ME303", str(error), where, path, error.help)) from None
        except UnboundName:
            raise MappingError(*names.problems) from None
        specs[address] = TensorSpec(rule.dtypes[i // each] if rule.dtypes else DTYPE, shape)
    return specs


def _file_names(mapping: Mapping, layout: Layout) -> list[ResolvedFile]:
    """Every file of the example, with its indices and what its keys hang below."""
    nothing = Inventory("the example", frozenset())
    names = ModelNames(mapping, nothing, layout, _said(mapping))
    try:
        return output_files(names, mapping.source)
    except ExpressionError as error:
        where = error.where or mapping.source.where
        raise MappingError(Problem("ME223", str(error), where, "", error.help)) from None
    except UnboundName:
        _check_complete(names)
        raise MappingError(*names.problems) from None


def _config(mapping: Mapping, layout: Layout) -> dict[str, Any]:
    """The source's config files, saying what the example says."""
    main = mapping.source.config_file(layout)
    configs: dict[str, Any] = {main.file: {}} if main else {}
    for field in mapping.fields.values():
        value = (mapping.example or {}).get(field.name, field.value.at(layout))
        for path in field.paths("source", layout) if value is not MISSING else ():
            steps = (*(main.at if main and not path.file else ()), *path.steps)
            file = path.file or (main.file if main else None)
            if file:
                config_values.put(configs.setdefault(file, {}), steps, value)
    return configs
