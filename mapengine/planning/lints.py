"""What no shape can see, and what has no way back: worth a note, and no mistake by itself."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from mapengine.errors import Problem
from mapengine.language.expression_syntax import CONFIG_QUESTIONS
from mapengine.language.expressions import Expression
from mapengine.language.mapping import Mapping, OpCall, Rule, Side
from mapengine.ops import OPS
from mapengine.planning.sharding import can_be_written

_JOINS = ("concat", "stack")
_TURNS = ("transpose", "permute", "rearrange")


def irreversible(mapping: Mapping) -> Iterator[Problem]:
    """What stands in the way of `--reverse`, or must be said by hand there."""
    yield from one_way(mapping.rules)
    for config in {mapping.source.config_file(layout) for layout in mapping.source.layouts()}:
        if config and not can_be_written(config.file):
            message = f"{config.file} is no JSON, YAML or torch file, and so not written back"
            yield Problem("ME330", message, mapping.source.where, "source.config")
    yield from _unsaid(mapping)


def _unsaid(mapping: Mapping) -> Iterator[Problem]:
    """Fields that are asked for on the way back, and that nothing gives a value there."""
    named = mapping.named()
    for field in mapping.fields.values():
        read, written = (field.places[side].entries for side in ("target", "source"))
        calls = field.compute.calls if field.compute else ()
        asks = any(function not in CONFIG_QUESTIONS for function, _ in calls)
        stands_in = field.defaults or field.value.entries or (field.compute and not asks)
        if (written or field.name in named) and not read and not stands_in:
            place = "written nowhere" if written else "in no file"
            message = f"{field.name} is {place}, and has no default: to reverse, it must be set"
            preset = any(field.name in values for values in mapping.presets.values())
            help = f"--set {field.name}=VALUE{', or a preset' if preset else ''}"
            yield Problem("ME331", message, field.where, f"config.{field.name}", help)


def one_way(rules: Iterable[Rule]) -> Iterator[Problem]:
    """The ops of rules that nothing undoes."""
    for rule in rules:
        for call in rule.ops:
            way_out = OPS[call.name].one_way(call.arguments)
            if way_out is not None:
                message = "one-way, so this mapping cannot be reversed"
                yield Problem("ME330", message, call.where, call.path, way_out)


def unseen(mapping: Mapping) -> Iterator[Problem]:
    """Mistakes that every check of shapes would let pass: an order, a turn, a swap."""
    yield from _orders(mapping)
    yield from _squares(mapping)
    yield from _swaps(mapping)


def useless(mapping: Mapping) -> Iterator[Problem]:
    """What could as well be left out: something else was meant, perhaps."""
    named = mapping.named()
    for field in mapping.fields.values():
        if field.name not in named and not any(one.entries for one in field.places.values()):
            message = f"{field.name} is of no use: no side has it, and nothing asks for it"
            yield Problem("ME336", message, field.where, f"config.{field.name}")
    used = named | _indices(mapping)
    for index in (one for one in mapping.dims if one not in used):
        where = mapping.document.where_key(("dims", index))
        message = f"{index} is of no use: it is in no key and no file, and no op takes it"
        yield Problem("ME336", message, where, f"dims.{index}")
    for side in (mapping.source, mapping.target):
        yield from _ignored_in_vain(mapping, side)


def _indices(mapping: Mapping) -> frozenset[str]:
    """What fans, files and lists name as their index."""
    found = {field.each for field in mapping.fields.values() if field.each}
    for rule in mapping.rules:
        for call in rule.ops:
            found |= {call.arguments[word] for word in ("into", "over") if word in call.arguments}
    for side in (mapping.source, mapping.target):
        for layout in side.layouts():
            for file in side.files(layout):
                found |= file.pattern.names | (file.prefix.names if file.prefix else frozenset())
        found |= {name for pattern in side.ignore_tensors for name in pattern.names}
    return frozenset(found)


def _ignored_in_vain(mapping: Mapping, side: Side) -> Iterator[Problem]:
    """Config paths that are ignored, though a field reads them; files of which none reads any."""
    layouts = list(side.layouts())
    read = [{p for f in mapping.fields.values() for p in f.paths(side.name, a)} for a in layouts]
    files = {path.file for paths in read for path in paths}
    files |= {config.file for layout in layouts if (config := side.config_file(layout))}
    for i, path in enumerate(side.ignore_config):
        where = mapping.document.where((side.name, "ignore", "config", i))
        if all(path in paths for paths in read):
            message = f"{path} need not be ignored: a field reads it"
        elif path.file and path.file not in files:
            message = f"{path} need not be ignored: nothing is read of that file"
        else:
            continue
        yield Problem("ME336", message, where, f"{side.name}.ignore.config")


def untried(mapping: Mapping, tried: Container[str]) -> Iterator[Problem]:
    """Rules, by path not among those `tried`, that the example says nothing of."""
    for rule in mapping.rules:
        if rule.path not in tried:
            message = f"the example does not try {rule}"
            yield Problem("ME335", message, rule.where, rule.path)


def _orders(mapping: Mapping) -> Iterator[Problem]:
    """Tensors of one shape that are joined: no shape tells which comes first."""
    for rule in mapping.rules:
        for call in rule.ops:
            if call.name not in _JOINS:
                continue
            index = call.arguments.get("over")
            words = mapping.dims.get(index) if index else tuple(p.text for p in rule.sources)
            alike = index is not None or len(set(map(_texts, rule.shapes))) == 1
            if isinstance(words, tuple) and len(words) > 1 and alike:
                message = f"no shape tells the order of {', '.join(words)}"
                yield Problem("ME332", message, call.where, call.path)


def _squares(mapping: Mapping) -> Iterator[Problem]:
    """Square matrices that stay as they are, beside a sibling that is turned."""
    for group in _groups(mapping):
        turned = [rule for rule in group if any(call.name in _TURNS[:2] for call in rule.ops)]
        for rule in group if turned else ():
            shape = _texts(rule.shapes[0]) if rule.shapes else ()
            if rule not in turned and len(shape) == 2 and shape[0] == shape[1]:
                other = turned[0]
                message = f"square, and not turned as {other} is: no shape tells whether it should"
                yield Problem("ME333", message, rule.where, rule.path)


def _swaps(mapping: Mapping) -> Iterator[Problem]:
    """Rules of one scope that could be swapped, for all that shapes and ops tell."""
    for group in _groups(mapping):
        alike: dict[tuple[object, ...], list[Rule]] = {}
        for rule in group:
            kind = (tuple(map(_texts, rule.shapes)), tuple(map(_op_text, rule.ops)))
            alike.setdefault((*kind, tuple(w.text for w in rule.when)), []).append(rule)
        for rules in alike.values():
            if len(rules) > 1 and rules[0].shapes:
                names = ", ".join(_last(rule) for rule in rules)
                message = f"only their names tell {names} apart"
                yield Problem("ME334", message, rules[0].where, rules[0].path)


def _groups(mapping: Mapping) -> list[list[Rule]]:
    """The rules by scope and layouts."""
    groups: dict[tuple[object, ...], list[Rule]] = {}
    for rule in mapping.rules:
        groups.setdefault((rule.scope, rule.layouts), []).append(rule)
    return list(groups.values())


def _texts(shape: Sequence[Expression]) -> tuple[str, ...]:
    return tuple(size.text for size in shape)


def _op_text(call: OpCall) -> str:
    return f"{call.name} {sorted((n, str(v)) for n, v in call.arguments.items())}"


def _last(rule: Rule) -> str:
    """The rule's keys without what its scope puts before them."""
    return ", ".join(pattern.text.removeprefix(rule.scope[0]) for pattern in rule.sources)
