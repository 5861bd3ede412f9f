"""What can be known to be wrong from a mapping file alone, before any checkpoint is there.

Every name in every expression, also in those that no example evaluates; every index that an op
makes or uses up; every key that two rules or two fields would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import PurePath

from mapengine.errors import Problem, by_place, suggest
from mapengine.language.expression_syntax import CONSTANTS
from mapengine.language.expressions import Expression
from mapengine.language.mapping import ConfigField, FilePattern, Mapping, Rule
from mapengine.ops import OPS
from mapengine.planning.fan_checks import check_fans
from mapengine.planning.name_checks import config_expressions, rule_expressions, unknown
from mapengine.planning.sharding import can_be_written
from mapengine.specs import SUFFIXES

_RESERVED = {"layout", *CONSTANTS}
_USED_TWICE = "one rule makes several of it: a -> b, c with ops: [copy]"


def check_mapping(mapping: Mapping) -> list[Problem]:
    """Every mistake that shows without a checkpoint, in the order of the file."""
    problems = [
        *_field_names(mapping),
        *_config_names(mapping),
        *config_expressions(mapping),
        *_circles(mapping),
        *_file_patterns(mapping),
        *_target_side(mapping),
        *_dtypes_asked_for(mapping),
        *rule_expressions(mapping),
        *_ops_that_come_first(mapping),
        *_doubled_paths(mapping),
        *check_fans(mapping),
        *_doubled_keys(mapping),
    ]
    return sorted(dict.fromkeys(problems), key=by_place)


# -- names that others refer to ---------------------------------------------------------------


def _field_names(mapping: Mapping) -> Iterator[Problem]:
    for field in mapping.fields.values():
        path = f"config.{field.name}"
        if field.name in _RESERVED:
            message = f"{field.name!r} means something else in expressions"
            yield Problem("ME219", message, field.where, path, "call the field something else")
        if field.name in mapping.dims:
            message = f"{field.name!r} is an index too; in a rule it could mean either"
            yield Problem("ME219", message, field.where, path, "call one of them something else")
        if field.each is not None and not isinstance(mapping.dims.get(field.each), Expression):
            message = f"there is no index {field.each!r} that counts"
            where = mapping.document.where(("config", field.name, "each"))
            hint = suggest(field.each, mapping.dims) or f"indices: {', '.join(mapping.dims)}"
            yield Problem("ME218", message, where, f"{path}.each", hint)


def _config_names(mapping: Mapping) -> Iterator[Problem]:
    """Presets and the example speak of fields."""
    groups: list[tuple[tuple[str, ...], Iterable[str]]] = [
        (("presets", name), values) for name, values in mapping.presets.items()
    ]
    for path, values in [*groups, (("example",), mapping.example or {})]:
        for name in values:
            if name not in mapping.fields:
                where = mapping.document.where_key((*path, name))
                hint = suggest(name, mapping.fields)
                message = f"no config field is called {name!r}"
                yield Problem("ME218", message, where, ".".join(path), hint)


def _circles(mapping: Mapping) -> Iterator[Problem]:
    """Fields that no file can say, and that need one another."""
    needs = {
        field.name: sorted(_needed(field).names & mapping.fields.keys())
        for field in mapping.fields.values()
        if not field.places["source"].entries and not field.value.entries and _needed(field)
    }
    done: set[str] = set()
    for start in needs:
        trail: list[str] = [start]
        while trail:
            name = next((n for n in needs.get(trail[-1], []) if n in needs and n not in done), None)
            if name in trail:
                circle = [*trail[trail.index(name) :], name]
                where = mapping.fields[name].where
                yield Problem("ME404", " needs ".join(circle), where, f"config.{name}")
                done.update(circle)
            elif name is not None:
                trail.append(name)
                continue
            done.add(trail.pop())


def _needed(field: ConfigField) -> Expression:
    return field.compute or field.defaults.get("source") or Expression("null")


# -- files, paths and keys --------------------------------------------------------------------


def _file_patterns(mapping: Mapping) -> Iterator[Problem]:
    for side in mapping.sides.values():
        for layout in side.layouts():
            for pattern in side.files(layout):
                yield from _one_count(pattern, mapping)
        for ignored in side.ignore_tensors:
            for hole in ignored.holes:
                known = {*mapping.fields, *mapping.dims}
                yield from unknown(hole.expression, known, f"{side.name}.ignore")


def _target_side(mapping: Mapping) -> Iterator[Problem]:
    """What cannot be written: names of no format, and words of a side that is read."""
    target = mapping.target
    patterns = [pattern for layout in target.layouts() for pattern in target.files(layout)]
    for pattern in patterns:
        text = pattern.pattern.text
        if pattern.is_plain and PurePath(text).suffix not in SUFFIXES:
            hint = f"names end in {', '.join(SUFFIXES)}"
            message = f"{text!r} is of no format that can be written"
            yield Problem("ME219", message, pattern.where, "target.tensors", hint)
    for config in {target.config_file(layout) for layout in target.layouts()}:
        if config and not can_be_written(config.file):
            message = f"{config.file!r} is no JSON, YAML or torch file: only those are written"
            yield Problem("ME219", message, target.where, "target.config")
    for side in mapping.sides.values():
        for root in sorted({side.root_in(layout) for layout in side.layouts()}):
            if root and not root.endswith("/"):
                message = f"{root!r} does not end in /, as the path of an object does"
                yield Problem("ME219", message, side.where, f"{side.name}.root")


def _dtypes_asked_for(mapping: Mapping) -> Iterator[Problem]:
    """`dtype('key')` of a tensor that a rule casts names another dtype than is written."""
    cast = {
        pattern.text: rule
        for rule in mapping.rules
        if any(OPS[call.name].retypes for call in rule.ops)
        for pattern in rule.sources
    }
    for name, field in mapping.fields.items():
        for function, arguments in field.compute.calls if field.compute else ():
            if function == "dtype" and arguments[0] in cast:
                rule = cast[str(arguments[0])]
                message = f"dtype({arguments[0]!r}) is not what is written: {rule.path} changes it"
                yield Problem("ME225", message, field.where, f"config.{name}", "ask another tensor")


def _ops_that_come_first(mapping: Mapping) -> Iterator[Problem]:
    """Ops before one that needs its tensors as they are stored."""
    for rule in mapping.rules:
        for before, call in pairwise(rule.ops):
            if reason := OPS[call.name].first:
                message = f"{before.name} stands before {call.name}: {reason}"
                help = f"{call.name} first, then {before.name}"
                yield Problem("ME307", message, before.where, before.path, help)


def _one_count(pattern: FilePattern, mapping: Mapping) -> Iterator[Problem]:
    names = pattern.pattern.names - mapping.dims.keys() - mapping.fields.keys()
    if len(names) > 1:
        message = f"{' and '.join(sorted(names))} have no range"
        help = "give all but one of them a range under dims"
        yield Problem("ME218", message, pattern.where, "", help)
    for hole in pattern.prefix.holes if pattern.prefix else ():
        known = {*mapping.fields, *mapping.dims, *pattern.pattern.names}
        yield from unknown(hole.expression, known, "prefix")


def _doubled_paths(mapping: Mapping) -> Iterator[Problem]:
    """Config paths of the target that two fields write, whatever holds."""
    for layout in mapping.layouts():
        writers: dict[str, ConfigField] = {}
        for field in mapping.fields.values():
            for path in field.paths("target", layout) if "target" not in field.whens else ():
                other = writers.setdefault(str(path), field)
                if other is not field:
                    message = f"{path} is written twice: by {other.name} ({other.where}) too"
                    yield Problem("ME409", message, field.where, f"config.{field.name}")


def _doubled_keys(mapping: Mapping) -> Iterator[Problem]:
    """Keys that two rules name in the same words, whatever holds."""
    layouts = list(mapping.layouts())
    known: dict[tuple[str, str], list[tuple[Rule, set[int]]]] = {}
    for rule in mapping.rules:
        if rule.when or rule.optional:
            continue
        held = {i for i, layout in enumerate(layouts) if rule.holds_in(layout)}
        for side, code, verb in (("source", "ME312", "used"), ("target", "ME313", "made")):
            for key in sorted({pattern.text for pattern in rule.keys(side)}):
                others = known.setdefault((side, key), [])
                first = next((other for other, where in others if where & held), None)
                if first is None:
                    others.append((rule, held))
                    continue
                message = f"{key} is {verb} twice: by {first.path} ({first.where}) too"
                help = _USED_TWICE if verb == "used" else ""
                yield Problem(code, message, rule.where, rule.path, help)
