"""The small checkpoint that a mapping's `example:` describes, in any of its layouts.

The example gives the names values; the rules' patterns and shapes say which tensors the source
has, and the fields where its config keeps what. All of it as values, so that a mapping can be
planned with no file at all; `example_files` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.binding import Binding, bind
from mapengine.binding.config_values import ValueProblem
from mapengine.binding.inventory import Address, Inventory, ResolvedFile, index_names
from mapengine.binding.names import ModelNames, Scope, Settings, UnboundName
from mapengine.errors import MappingError, Problem
from mapengine.language.expressions import ExpressionError
from mapengine.language.mapping import MISSING, FilePattern, Layout, Mapping
from mapengine.language.patterns import KeyPattern
from mapengine.planning.expand import MOST_KEYS, Step, expand
from mapengine.planning.lowering import shape_of
from mapengine.specs import (
    FileContents,
    StoredTensor,
    TensorLocation,
    TensorSpec,
    contiguous_strides,
)

DTYPE = "bfloat16"
"""What example tensors are stored in."""


def example_inventory(mapping: Mapping, layout: Layout) -> Inventory:
    """The example as a folder would show it: names, headers and config.

    Raises `MappingError` where the mapping has no example, or it cannot be made.
    """
    if mapping.example is None:
        where = mapping.document.where(())
        message = "the mapping has no `example:` to make a checkpoint from"
        raise MappingError(Problem("ME221", message, where, help="add one, or name a --source"))
    files = _file_names(mapping, layout)
    configs = _config(mapping, layout)
    empty = {file.name: FileContents(0, {}) for file in files}
    bare = Inventory("the example", frozenset({*empty, *configs}), empty, configs)
    binding = bind(mapping, bare, layout, Settings(dict(mapping.example)))
    _check_complete(binding.names)
    expansion = expand(binding, keys=MOST_KEYS)
    if expansion.problems:  # what is wrong with the binding is told when the example is planned
        raise MappingError(*expansion.problems)
    by_file: dict[str, dict[str, StoredTensor]] = {name: {} for name in empty}
    for step in expansion.steps:
        for address, spec in _specs(step, binding.names).items():
            name, key = _home(address, files, binding)
            strides = contiguous_strides(spec.shape)
            by_file[name][key] = StoredTensor(spec, TensorLocation(name, 0, strides))
    contents = {name: FileContents(0, tensors) for name, tensors in by_file.items()}
    return Inventory("the example", bare.names, contents, configs)


def example_settings(mapping: Mapping, layout: Layout) -> Settings:
    """What of the example no file of it can say, and so must be set."""
    values = {
        name: value
        for name, value in (mapping.example or {}).items()
        if name in mapping.fields and not mapping.fields[name].paths("source", layout)
    }
    return Settings(values)


def _check_complete(names: ModelNames) -> None:
    """Refuses an example that leaves a name without a value."""
    mapping = names.mapping
    if names.missing:
        where = mapping.document.where_key(("example",))
        message = f"nothing gives {', '.join(names.missing)} a value"
        raise MappingError(Problem("ME221", message, where, "example"))


def _specs(step: Step, names: ModelNames) -> dict[Address, TensorSpec]:
    rule = step.rule
    if not rule.shapes:
        message = "the rule states no shape, so no example can be made of it"
        raise MappingError(Problem("ME222", message, rule.where, rule.path))
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
        specs[address] = TensorSpec(DTYPE, shape)
    return specs


# -- files ------------------------------------------------------------------------------------


def _patterns(mapping: Mapping, layout: Layout) -> list[FilePattern]:
    """The files a layout is written as: its patterns if it has any, else its first plain name."""
    patterns = mapping.source.files(layout)
    with_indices = [p for p in patterns if p.pattern.names or p.prefix]
    plain = [p for p in patterns if p.is_plain] or [_named(p) for p in patterns if p.is_glob]
    if any(pattern.prefix for pattern in with_indices):  # what has no prefix is in a file beside
        return with_indices + plain[:1]
    return with_indices or plain[:1]


def _named(glob: FilePattern) -> FilePattern:
    """A file that a glob finds: `*.safetensors` is written as `model.safetensors`."""
    return replace(glob, pattern=KeyPattern.parse(glob.pattern.text.replace("*", "model")))


def _file_names(mapping: Mapping, layout: Layout) -> list[ResolvedFile]:
    """Every file of the example, with its indices and what its keys hang below."""
    nothing = Inventory("the example", frozenset())
    names = ModelNames(mapping, nothing, layout, Settings(dict(mapping.example or {})))
    files: dict[str, ResolvedFile] = {}
    for pattern in _patterns(mapping, layout):
        try:
            for file in _files_of(pattern, names):
                files.setdefault(file.name, file)
        except ExpressionError as error:
            where = error.where or pattern.where
            raise MappingError(Problem("ME223", str(error), where, "", error.help)) from None
        except UnboundName:
            _check_complete(names)
            raise MappingError(*names.problems) from None
    return list(files.values())


def _files_of(pattern: FilePattern, names: ModelNames) -> Iterator[ResolvedFile]:
    indices = index_names(pattern, names.mapping.dims.get, names.known)
    ranges = []
    for name in indices:
        values = names.range_of(name)
        values = _counted(pattern, names) if values is None else values
        if values is None:
            message = f"how many files there are of {pattern.pattern.text!r} is not said"
            raise ValueProblem(message, f"give {name!r} a range under dims")
        ranges.append(values)
    for chosen in product(*ranges):
        inside = dict(zip(indices, chosen, strict=True))
        scope = Scope(names, inside)
        prefix = pattern.prefix.fill(scope) if pattern.prefix else ""
        yield ResolvedFile(pattern.pattern.fill(scope), tuple(inside.items()), prefix)


def _counted(pattern: FilePattern, names: ModelNames) -> Sequence[int | str] | None:
    """The range of an index without one in `dims`: by the field that counts the files, if any."""
    question = (("count", (pattern.pattern.text,)),)
    for field in names.mapping.fields.values():
        compute = field.compute
        if compute is not None and compute.calls == question and not compute.names:
            return range(names.value(field.name))
    return None


def _home(address: Address, files: Sequence[ResolvedFile], binding: Binding) -> tuple[str, str]:
    """The file a tensor is written to, and its key there: the longest prefix has it."""
    key, rank = address
    wanted = set(zip(binding.ranks, rank, strict=True))
    fit = [f for f in files if key.startswith(f.prefix) and wanted <= set(f.indices)]
    if fit:
        file = max(fit, key=lambda file: len(file.prefix))
        return file.name, binding.mapping.source.root + key.removeprefix(file.prefix)
    message = f"{key} belongs to no file of the example"
    raise MappingError(Problem("ME223", message, binding.mapping.source.where))


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
