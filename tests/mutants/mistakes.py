"""Every way to make one small mistake in a mapping, as its plain YAML values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mapengine.specs import DTYPES
from mutants.config_mistakes import in_fields, in_sides, without

NAME = re.compile(r"(?<![\w.'(])[a-z]\w*(?![\w(.'])")
_WORDS = {"if", "else", "and", "or", "not", "min", "max", "int", "layout", "none", "null", "true"}


@dataclass(frozen=True)
class Mutant:
    """A mapping with one mistake in it, which `what` describes."""

    what: str
    data: Any


def mutants(data: Any) -> Iterator[Mutant]:
    """A mapping's YAML values with every mistake this file knows, one at a time."""
    names = _integers(data)
    for path, what, value in [
        *_rules(data, names),
        *_dims(data),
        *in_fields(data),
        *in_sides(data),
    ]:
        yield Mutant(f"{'.'.join(map(str, path))}: {what}", _with(data, path, value))


# -- where there is something to mistake ----------------------------------------------------------


def _rules(data: Any, names: Sequence[str]) -> Iterator[tuple[list[Any], str, Any]]:
    for path, rules in _scopes(data["tensors"], ["tensors"]):
        parsed = [_rule(rule) for rule in rules]
        for i, (key, body) in enumerate(parsed):
            at = [*path, i]
            if "scope" in body:
                yield from _typed(at, body, {"when": _negated(body.get("when"))})
                continue
            for what, other in _keys(key):
                if what.startswith("sources") and body.get("ops", [None])[0] == "same":
                    continue  # which are the same in any order
                yield at, what, _written(other, body)
            if i + 1 < len(parsed) and "scope" not in parsed[i + 1][1]:
                yield from _swapped(path, rules, i, parsed)
            for what, other in _bodies(body, names):
                yield at, what, _written(key, other)


def _scopes(rules: Any, path: list[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    yield path, rules
    for i, rule in enumerate(rules):
        if isinstance(rule, Mapping) and "scope" in rule:
            yield from _scopes(rule["tensors"], [*path, i, "tensors"])


def _rule(rule: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(rule, str):
        return rule, {}
    if "scope" in rule:
        return str(rule["scope"]), dict(rule)
    ((key, body),) = rule.items()
    return key, dict(body or {})


def _written(key: str, body: Mapping[str, Any]) -> Any:
    return {key: body} if body else key


def _sides_of(key: str) -> tuple[list[str], list[str]]:
    left, arrow, right = key.partition("->")
    sources = [one.strip() for one in left.split(",") if one.strip()]
    targets = [one.strip() for one in right.split(",") if one.strip()]
    return sources, targets if arrow else list(sources)


def _joined(sources: Sequence[str], targets: Sequence[str]) -> str:
    return f"{', '.join(sources)} -> {', '.join(targets)}".strip()


def _keys(key: str) -> Iterator[tuple[str, str]]:
    sources, targets = _sides_of(key)
    for keys, side in ((sources, "source"), (targets, "target")):
        for i, one in enumerate(keys):
            spoilt = [*keys[:i], one + "x", *keys[i + 1 :]]
            pair = (spoilt, targets) if side == "source" else (sources, spoilt)
            yield f"a letter more in {side} {one}", _joined(*pair)
        if len(keys) > 1 and keys[0] != keys[1]:
            other = [keys[1], keys[0], *keys[2:]]
            pair = (other, targets) if side == "source" else (sources, other)
            yield f"{side}s {keys[0]}, {keys[1]} swapped", _joined(*pair)


def _swapped(
    path: list[Any], rules: list[Any], i: int, parsed: Sequence[tuple[str, dict[str, Any]]]
) -> Iterator[tuple[list[Any], str, Any]]:
    (one, body), (other, after) = parsed[i], parsed[i + 1]
    if body.get("layout") != after.get("layout") or body.get("when") != after.get("when"):
        return
    (s1, t1), (s2, t2) = _sides_of(one), _sides_of(other)
    if len(s1) != len(s2) or len(t1) != len(t2):
        return
    if s1 != s2:
        swapped = [*rules]
        swapped[i : i + 2] = [_written(_joined(s2, t1), body), _written(_joined(s1, t2), after)]
        yield path, f"sources of {one} and {other} swapped", swapped
    if s1 or body != after:  # else the two constants only change places
        swapped = [*rules]
        swapped[i : i + 2] = [_written(_joined(s1, t2), body), _written(_joined(s2, t1), after)]
        yield path, f"targets of {one} and {other} swapped", swapped


def _bodies(body: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, op in enumerate(body.get("ops", [])):
        rest = [*body["ops"]]
        del rest[i]
        yield f"ops[{i}] dropped", without(body | {"ops": rest}, "ops" if not rest else "")
        for what, other in _ops(op, names):
            yield (
                f"ops[{i}] {what}",
                body | {"ops": [*body["ops"][:i], other, *body["ops"][i + 1 :]]},
            )
    shape = body.get("shape")
    if isinstance(shape, list) and shape and not isinstance(shape[0], list):
        for what, other in _lists(shape, names):
            yield f"shape {what}", body | {"shape": other}
    elif shape:
        for i, one in enumerate(shape):
            for what, other in _lists(one, names):
                yield f"shape[{i}] {what}", body | {"shape": [*shape[:i], other, *shape[i + 1 :]]}
    for what, other in _dtypes(body.get("dtype")):
        yield f"dtype {what}", body | {"dtype": other}
    if "when" in body:
        yield "when negated", body | {"when": _negated(body["when"])}
    if "optional" in body:
        yield "optional dropped", without(body, "optional")


def _ops(op: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(op, str):
        return
    ((name, arguments),) = op.items()
    if name == "rearrange" and isinstance(arguments, str):
        for what, other in _patterns(arguments):
            yield what, {name: other}
    elif isinstance(arguments, list):
        for what, other in _lists(arguments, names):
            if name != "transpose" or "swapped" not in what:  # which would be the same op
                yield what, {name: other}
    elif isinstance(arguments, Mapping):
        for word, value in arguments.items():
            if word in ("into", "over", "overflow", "format"):
                continue
            for what, other in _dtypes(value):
                yield f"{word} {what}", {name: {**arguments, word: other}}
            found = _lists(value, names) if isinstance(value, list) else _values(value, names)
            for what, other in found:
                yield f"{word} {what}", {name: {**arguments, word: other}}
    elif name not in ("cast",):
        for what, other in _values(arguments, names):
            yield what, {name: other}


def _dtypes(value: Any) -> Iterator[tuple[str, Any]]:
    """Another dtype where there is one, of the nearest kind; of a list each, and swapped."""
    if isinstance(value, list):
        for i, one in enumerate(value):
            for what, other in _dtypes(one):
                yield what, [*value[:i], other, *value[i + 1 :]]
        if any(one in DTYPES for one in value) and value != value[::-1]:
            yield "swapped", value[::-1]
    elif isinstance(value, str) and value in DTYPES:
        known = [name for name, one in DTYPES.items() if one.floating == DTYPES[value].floating]
        other = known[(known.index(value) + 1) % len(known)]
        yield f"{other} for {value}", other


def _patterns(pattern: str) -> Iterator[tuple[str, str]]:
    left, _, right = pattern.partition("->")
    words = re.findall(r"[A-Za-z_]\w*|\d+", right)
    for one, other in itertools.pairwise(words):
        if one != other:
            first, second = (re.search(rf"\b{word}\b", right) for word in (one, other))
            assert first and second
            turned = right
            for found, word in sorted([(first, other), (second, one)], key=lambda p: -p[0].start()):
                turned = turned[: found.start()] + word + turned[found.end() :]
            yield f"{one} and {other} swapped on the right", f"{left}->{turned}"


def _lists(values: list[Any], names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    for i, value in enumerate(values):
        if i + 1 < len(values) and value != values[i + 1]:
            other = [*values]
            other[i], other[i + 1] = other[i + 1], other[i]
            yield f"{value} and {values[i + 1]} swapped", other
        for what, changed in _values(value, names):
            yield what, [*values[:i], changed, *values[i + 1 :]]


def _values(value: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """A value that is one off, or of another name."""
    if isinstance(value, bool):
        yield f"{value} negated", not value
    elif isinstance(value, int | float):
        yield f"{value} is one more", value + 1
        if value and isinstance(value, int):
            yield f"{value} is one less", value - 1
    elif isinstance(value, str):
        for found in NAME.finditer(value):
            for name in _others(found[0], names):
                changed = value[: found.start()] + name + value[found.end() :]
                yield f"{name} for {found[0]} in {value}", changed


def _others(name: str, names: Sequence[str]) -> list[str]:
    """Names that might be taken for another: the nearest two of the mapping's."""
    if name in _WORDS or name not in names:
        return []
    kindred = [n for n in names if n != name and (n.endswith(name) or name.endswith(n))]
    at = names.index(name)
    return list(dict.fromkeys([*kindred, names[(at + 1) % len(names)]]))[:2]


def _dims(data: Any) -> Iterator[tuple[list[Any], str, Any]]:
    for name, value in data.get("dims", {}).items():
        if isinstance(value, list):
            if len(value) > 1:
                yield ["dims", name], f"without {value[-1]}", value[:-1]
        else:
            yield ["dims", name], "one more", f"({value}) + 1"
            yield ["dims", name], "one less", f"({value}) - 1"


# -- how it is changed ----------------------------------------------------------------------------


def _integers(data: Any) -> list[str]:
    """The names of the example's whole numbers, but those that must be what another is."""
    example, config = data.get("example", {}), data.get("config", {})
    names = [n for n, v in example.items() if isinstance(v, int) and not isinstance(v, bool)]
    fields = {n: config[n] for n in names if isinstance(config.get(n), Mapping)}
    return [n for n in names if fields.get(n, {}).get("compute") not in names]


def _negated(condition: Any) -> Any:
    return None if condition is None else f"not ({condition})"


def _typed(
    at: list[Any], body: dict[str, Any], changes: dict[str, Any]
) -> Iterator[tuple[list[Any], str, Any]]:
    for word, value in changes.items():
        if value is not None:
            yield at, f"{word} negated", body | {word: value}


def _with(data: Any, path: Sequence[Any], value: Any) -> Any:
    changed = deepcopy(data)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed
