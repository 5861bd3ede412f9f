"""Small mistakes in what a mapping says of configs: paths, values, defaults, what is ignored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def without(body: dict[str, Any], word: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != word}


def in_fields(data: Any) -> Iterator[tuple[list[Any], str, Any]]:
    fields = {k: v for k, v in data.get("config", {}).items() if k != "carry"}
    listed, named = list(fields.items()), _named(data)
    for i, (name, body) in enumerate(listed):
        at = ["config", name]
        if isinstance(body, str):
            yield at, "a letter more", body + "x"
            continue
        body = body or {}
        for side in ("source", "target"):
            for what, other in _places(body.get(side)):
                yield [*at, side], what, other
            if i + 1 < len(listed) and isinstance(listed[i + 1][1], Mapping):
                after, neighbour = listed[i + 1]
                both = side in body and side in neighbour and body[side] != neighbour[side]
                if both and not _interchangeable(listed[i], listed[i + 1], side, named, data):
                    config = dict(data["config"])
                    config[name] = body | {side: neighbour[side]}
                    config[after] = neighbour | {side: body[side]}
                    yield ["config"], f"{side} of {name} and {after} swapped", config
        for word in ("value", "default", "compute"):
            if word == "default" and _is_read_only(name, body, named, data):
                continue  # it lets the config go without, whatever it is
            for what, other in _constants(body.get(word), word):
                yield [*at, word], what, other


def _named(data: Any) -> set[str]:
    """The words in all that is an expression, or may be one."""
    asked = [data.get("dims"), data["tensors"], data["source"], data["target"]]
    for body in data.get("config", {}).values():
        if isinstance(body, Mapping):
            asked += [body.get(word) for word in ("compute", "default", "when", "value")]
    return set(re.findall(r"[A-Za-z_]\w*", repr(asked)))


def _interchangeable(
    one: tuple[str, Any], other: tuple[str, Any], side: str, named: set[str], data: Any
) -> bool:
    """Whether two fields say the same of all but a path of one side, and so may swap it."""
    (name, body), (after, neighbour) = one, other
    if name in named or after in named:
        return False
    read_only = all(_is_read_only(*each, named, data) for each in (one, other))
    return read_only or without(body, side) == without(neighbour, side)


def _is_read_only(name: str, body: Mapping[str, Any], named: set[str], data: Any) -> bool:
    """Whether a field is asked for by nothing, held against nothing, and never written."""
    if name in named or "value" in body or "compute" in body:
        return False
    whens = body.get("when")
    one_way = "dequantize" in repr(data["tensors"])
    for side in ("source", "target"):
        never = isinstance(whens, Mapping) and whens.get(side) is False
        if side in body and not never and not (one_way and side == "source"):
            return False
    return True


def _places(place: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(place, str):
        yield f"a letter more in {place}", place + "x"
    elif isinstance(place, list):
        for i, one in enumerate(place):
            yield f"a letter more in {one}", [*place[:i], f"{one}x", *place[i + 1 :]]
    elif isinstance(place, Mapping):
        for layout, one in place.items():
            if isinstance(one, str):
                yield f"a letter more in {one}", {**place, layout: one + "x"}


def _constants(value: Any, word: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield f"{word} negated", not value
    elif isinstance(value, int | float):
        yield f"{word} one more", value + 1
    elif isinstance(value, str) and word == "compute":
        yield "compute one more", f"({value}) + 1"
    elif isinstance(value, str) and word == "value":
        yield "another word", value + "x"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            for what, other in _constants(inner, word):
                yield f"{key}: {what}", {**value, key: other}


def in_sides(data: Any) -> Iterator[tuple[list[Any], str, Any]]:
    for side in ("source", "target"):
        body = data[side]
        ignored = body.get("ignore", {})
        for kind in ("tensors", "config"):
            for i, entry in enumerate(ignored.get(kind, [])):
                rest = [*ignored[kind]]
                del rest[i]
                yield [side, "ignore", kind], f"{entry} no longer ignored", rest
        if body.get("root"):
            yield [side, "root"], "another root", f"x{body['root']}"
