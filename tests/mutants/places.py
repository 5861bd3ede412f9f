"""A checkpoint's config with a field said where it was not, or gone from all its places; and a
checkpoint without the tensors that are optional."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mapengine import api
from mapengine.binding.config_values import ABSENT, ValueProblem, look_up, put, translate
from mapengine.binding.names import UnboundName
from mapengine.language.mapping import TENSOR_FILE
from mapengine.planning.expand import expand

Files = dict[Path, Any]
"""The files that are other ones, and what is in them."""
Place = tuple[Path, tuple[str, ...]]


def fields_elsewhere(job: api.Job, plan: api.Plan, files: Mapping[Path, Any]) -> Iterator[Files]:
    """Each field said where the config does not say it, or gone where several places do.

    What it says is what it is, or another value: a mapping may hold it against that, and read it
    nowhere else.
    """
    names, reverse = plan.binding.names, job.reverse
    for field in job.mapping.fields.values():
        places = list(_places(job, plan, field))
        there = [p for p in places if look_up(files.get(p[0]), p[1]) is not ABSENT]
        if len(there) > 1:
            yield _without(files, there)
        try:
            value = names.value(field.name)
        except UnboundName:
            continue
        if reverse and field.words:
            value = field.each_of(value, lambda one, words=field.words: translate(one, words, ""))
        for place in (one for one in places if one not in there):
            for told in (value, other_value(value)):
                if changed := _with(files, place, told):
                    yield changed


def without_optional(
    plan: api.Plan, files: Mapping[Path, Any], tensors: list[Path]
) -> Iterator[Files]:
    """All that the rules have which are optional, one rule at a time."""
    binding = plan.binding
    rules: dict[str, set[str]] = {}
    for step in expand(binding).steps:
        if step.rule.optional:
            keys = {address[0] for address in step.sources.members}
            rules.setdefault(step.rule.path, set()).update(keys)
    root = binding.read.root_in(binding.layout)
    for keys in rules.values():
        changed = {}
        for path in tensors:
            held = deepcopy(files[path])
            for key in keys:
                steps = (root + key,) if path.suffix == ".safetensors" else (root + key).split("/")
                if look_up(held, steps) is not ABSENT:
                    del look_up(held, steps[:-1])[steps[-1]]
                    changed[path] = held
        if changed:
            yield changed


def other_value(value: Any) -> Any:
    """A value of the same kind that is another."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case [first, *rest]:
            return [other_value(first), *rest]
    return "x"


def _places(job: api.Job, plan: api.Plan, field: Any) -> Iterator[Place]:
    side, layout = plan.binding.read, plan.binding.layout
    main = side.config_file(layout)
    for path in field.paths(side.name, layout):
        file = path.file or (main.file if main else TENSOR_FILE)
        at = main.at if main and not path.file else ()
        if file != TENSOR_FILE:
            yield Path(job.source, file), (*at, *path.steps)


def _without(files: Mapping[Path, Any], places: list[Place]) -> Files:
    changed = {path: deepcopy(files[path]) for path, _ in places}
    for path, steps in places:
        del look_up(changed[path], steps[:-1])[steps[-1]]
    return changed


def _with(files: Mapping[Path, Any], place: Place, value: Any) -> Files | None:
    path, steps = place
    held = deepcopy(files.get(path, {}))
    try:
        put(held, steps, value)
    except ValueProblem:
        return None  # it goes through what is no object
    return {path: held}
