"""The config of one side, which must be read completely, to that of the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import Any

from mapengine.binding import config_values
from mapengine.binding.config_values import told
from mapengine.binding.names import ModelNames, UnboundName
from mapengine.binding.questions import AsksHeaders
from mapengine.errors import Problem
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import (
    MISSING,
    TENSOR_FILE,
    ConfigField,
    ConfigFile,
    ConfigPath,
)


def unread(names: ModelNames) -> Iterator[Problem]:
    """What stands in the main config and no field reads, nothing carries and nobody ignores."""
    mapping, side = names.mapping, names.side
    config = names.config.start(None)
    main = side.config_file(names.layout)
    if main is None:
        return
    if not isinstance(config, AnyMapping):
        yield Problem("ME402", no_config(names, main, config), side.where, f"{side.name}.config")
        return
    if main.file == TENSOR_FILE:
        yield from _unlike(names, main)
    if not mapping.carry_rest:
        ignored = [*map(_steps_of, mapping.carry), *_ignored(names, main.file)]
        yield from _left_over(names, main.file, config, [*ignored, *_read_paths(names)])
    by_file: dict[str, list[tuple[str, ...]]] = {}
    for field in mapping.fields.values():
        for path in field.paths(side.name, names.layout):
            if path.file is not None and path.file != main.file:
                by_file.setdefault(path.file, []).append(path.steps)
    for file, covered in by_file.items():
        covered += _ignored(names, file)
        yield from _left_over(names, file, names.config.start(file), covered)


def _unlike(names: ModelNames, main: ConfigFile) -> Iterator[Problem]:
    """That the tensor files do not all hold the same config."""
    (first, config), *others = names.config.inside().items()
    for other, found in others:
        if found != config:
            message = f"{first} and {other} hold different configs at {'.'.join(main.at)}"
            help = "config: {file: NAME, at: ...} says which of them is read"
            yield Problem("ME402", message, names.side.where, f"{names.side.name}.config", help)
            return


def _ignored(names: ModelNames, file: str) -> list[tuple[str, ...]]:
    """What is left behind by name of one file of the side that is read."""
    main = names.side.config_file(names.layout)
    return [
        _steps_of(path)
        for path in names.side.ignore_config
        if (path.file or (main and main.file)) == file
    ]


def _left_over(
    names: ModelNames, file: str, config: Any, covered: list[tuple[str, ...]]
) -> Iterator[Problem]:
    """The leaves of one config that none of the paths covers, as one problem."""
    left = [str(ConfigPath(leaf)) for leaf in _uncovered(config, covered)]
    if left:
        verb = "is" if len(left) == 1 else "are"
        shown = ", ".join(left[:12]) + (f" and {len(left) - 12} more" if len(left) > 12 else "")
        yield Problem(
            "ME403",
            f"{file}: {shown} {verb} read by no field",
            names.side.where,
            help=_way_out(file),
        )


def _way_out(file: str) -> str:
    """What can be said of config keys that nothing reads."""
    rest = f'"{file}:" there leaves all that is left'
    if file == TENSOR_FILE:
        rest = (
            '"FILE:" there leaves all that is left, where `config` names it: {file: FILE, at: ..}'
        )
    return f"carry, ignore.config, or a field; {rest}"


def _uncovered(config: Any, covered: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The leaves that no path covers. An empty object that a path goes through has been read."""
    for leaf in config_values.leaves(config):
        empty = config_values.look_up(config, leaf) == {}
        if not any(_covers(steps, leaf) or (empty and _covers(leaf, steps)) for steps in covered):
            yield leaf


def no_config(names: ModelNames, main: ConfigFile, found: Any) -> str:
    """That the config is not there, or is no object."""
    at = f" at {'.'.join(main.at)}" if main.at else ""
    if main.file not in (TENSOR_FILE, *names.inventory.names):
        return f"there is no {main.file} in {names.inventory.folder}"
    if found is config_values.ABSENT:
        return f"{main.file} holds nothing{at}"
    return f"{main.file} holds {told(found)}{at}, where an object is wanted"


def _read_paths(names: ModelNames) -> Iterator[tuple[str, ...]]:
    main = names.side.config_file(names.layout)
    for field in names.mapping.fields.values():
        for path in field.paths(names.side.name, names.layout):
            if path.file is None or (main and path.file == main.file and not main.at):
                yield path.steps


def _steps_of(path: ConfigPath) -> tuple[str, ...]:
    """The steps of a path that may end in a dot."""
    return path.steps[:-1] if path.steps[-1] == "" else path.steps


def _covers(steps: tuple[str, ...], leaf: tuple[str, ...]) -> bool:
    return leaf[: len(steps)] == steps


def written_configs(names: ModelNames, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """The config objects of the side that is written, and a check of what must be equal."""
    main = names.other.config_file(names.layout) or ConfigFile("config.json")
    configs: dict[str, dict[str, Any]] = {}
    if names.other.config_file(names.layout) is not None:
        configs[main.file] = _carried(names, main.at)
    # What `rest` carries gives way to what a field writes; what is carried by name does not.
    carried = [(*main.at, *_steps_of(path)) for path in names.mapping.carry]
    named = names.mapping.named()
    written: dict[tuple[str, ConfigPath], ConfigField] = {}
    for field in sorted(names.mapping.fields.values(), key=_depth(names)):
        where, path = field.where, f"config.{field.name}"
        try:
            if names.wants(field, named) and (disagreement := _disagreement(names, field)):
                problems.append(disagreement)
            for file, at, value in _written(names, field, main):
                other = written.setdefault((file, at), field)
                if other is not field:
                    message = f"{file}: {at} is written twice: by {other.name} ({other.where}) too"
                    problems.append(Problem("ME409", message, where, path))
                clash = _not_writable(configs.get(file), carried, at, value)
                if clash:
                    problems.append(Problem("ME409", f"{file}: {clash}", where, path))
                    continue
                config_values.put(configs.setdefault(file, {}), at.steps, value)
        except ExpressionError as error:
            problems.append(Problem("ME405", str(error), error.where or where, path, error.help))
        except UnboundName:
            continue
    return configs


def _not_writable(
    config: Any, carried: list[tuple[str, ...]], at: ConfigPath, value: Any
) -> str | None:
    """Why a value cannot be written at a path: it is no number, or what is carried differs."""
    if isinstance(value, float) and math.isnan(value):
        return f"{at} would be nan, which no reader of JSON takes"
    over = any(_covers(at.steps, steps) or _covers(steps, at.steps) for steps in carried)
    found = config_values.look_up(config, at.steps)
    if over and found is not config_values.ABSENT and not config_values.equal(found, value):
        return f"{at} is carried as {told(found)}, and written as {told(value)}"
    return None


def _depth(names: ModelNames) -> Any:
    """Fields that write whole objects come before fields that write into them."""

    def depth(field: ConfigField) -> int:
        paths = field.paths(names.other.name, names.layout)
        return max((len(path.steps) for path in paths), default=0)

    return depth


def _disagreement(names: ModelNames, field: ConfigField) -> Problem | None:
    """A constant or a computed field that is also in the file, and is not the same there."""
    constant = field.value.at(names.layout)
    if field.compute is None and constant is MISSING:
        return None
    when = field.whens.get(names.other.name)
    if when is not None and not names.holds(when):
        return None
    value, origin = names.value(field.name), names.origins[field.name]
    try:
        meant = constant if field.compute is None else names.evaluate(field.compute)
    except AsksHeaders:
        return None
    if field.name in names.settings.values or config_values.equal(value, meant):
        return None
    where, path = field.where, f"config.{field.name}"
    if field.compute is None:
        message = f"{origin} is {told(value)}, where {told(meant)} is wanted"
        return Problem("ME407", message, where, path)
    message = f"{origin} is {told(value)}, but {field.compute.text} is {told(meant)}"
    return Problem("ME407", message, where, path, _cure(names, field, field.compute))


def _cure(names: ModelNames, field: ConfigField, compute: Expression) -> str:
    """Where the names of a formula come from; of `dtype`, what the config says is another thing."""
    if not any(function == "dtype" for function, _ in compute.calls):
        return names.sources(compute)
    read, written = (_listed(field, side.name, names) for side in (names.side, names.other))
    one = f"`{field.name}_read: {{{names.side.name}: {read}, default: null}}`"
    two = f"`{field.name}: {{{names.other.name}: {written}, compute: {compute.text}}}`"
    return f"dtype() is what is written; what is read is a field of its own: {one}, {two}"


def _listed(field: ConfigField, side: str, names: ModelNames) -> str:
    paths = list(map(str, field.paths(side, names.layout)))
    return paths[0] if len(paths) == 1 else f"[{', '.join(paths)}]"


def _written(
    names: ModelNames, field: ConfigField, main: ConfigFile
) -> Iterator[tuple[str, ConfigPath, Any]]:
    """Where a field is written, and what: file, path and value."""
    paths, when = field.paths(names.other.name, names.layout), field.whens.get(names.other.name)
    if not paths or (when is not None and not names.holds(when)):
        return
    value = names.value(field.name)
    if value is None and field.optional:
        return
    if names.other.name == "target":
        words, origin = field.words, names.origins[field.name]
        value = field.each_of(value, lambda one: config_values.translate(one, words, origin))
    for path in paths:
        below = () if path.file else main.at  # a path that names its file begins at its root
        yield path.file or main.file, ConfigPath((*below, *path.steps)), value


def _carried(names: ModelNames, at: tuple[str, ...]) -> dict[str, Any]:
    """What is carried over, in the object at `at` of the config that is written."""
    written: dict[str, Any] = {}
    config = names.config.start(None)
    if config is not config_values.ABSENT:
        _carry(names, config, written)
    for step in reversed(at):
        written = {step: written}
    return written


def _carry(names: ModelNames, config: Any, written: dict[str, Any]) -> None:
    carried: list[tuple[str, ...]] = [path.steps for path in names.mapping.carry]
    if names.mapping.carry_rest:
        main = names.side.config_file(names.layout)
        left = [*(_ignored(names, main.file) if main else ()), *_read_paths(names)]
        carried = list(_uncovered(config, left))
    for steps in carried:
        value = config_values.look_up(config, steps)
        if value is not config_values.ABSENT:
            config_values.put(written, steps, value)
