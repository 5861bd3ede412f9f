"""The YAML text of a mapping that was inferred."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mapengine.inference.fields import Field

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./ -]*(?<![ :])")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", "nan", "inf"})
_UP_TO_INDEX = re.compile(r"[^{]*\{[^}]*\}[./]")
_WIDTH = 100


def file_name(path: Path | None, otherwise: str) -> str:
    """The name of a mapping that is written to a path."""
    stem = path.stem if path is not None else otherwise
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem)


def scalar(value: Any) -> str:
    """A value of a config as YAML has it, in one line."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(str(k))}: {scalar(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text


def quoted(text: str) -> str:
    """A word that stands in `{}` or `[]`, in quotes where YAML would misread it."""
    special = not text or text[0] in "{}[]*&!%@`'\"#|>-? " or set(text) & set(",{}[]:#\\")
    return json.dumps(text, ensure_ascii=False) if special or text.lower() in _WORDS else text


def key(text: str) -> str:
    """A rule's key, in quotes where YAML would misread it."""
    special = text[0] in "{}[]*&!%@`'\"#|>? " or ": " in text or " #" in text or "{@" in text
    return json.dumps(text, ensure_ascii=False) if special else text


def field_line(one: Field) -> str:
    """A field: `name: path`, or its places and where its value comes from."""
    note = f"    # {one.note}" if one.note else ""
    if one.source is not None and one.targets == (one.source,):
        return f"  {one.name}: {quoted(one.source)}{note}"
    words = []
    if one.source is not None:
        words.append(f"source: {quoted(one.source)}")
    if one.targets:
        places = [quoted(path) for path in one.targets]
        words.append(f"target: {places[0] if len(places) == 1 else '[' + ', '.join(places) + ']'}")
    if one.compute is not None:
        words.append(f"compute: {json.dumps(one.compute)}")
    if one.constant:
        soft = one.value is None or isinstance(one.value, bool | int | float)
        words.append(f"{'default' if soft else 'value'}: {scalar(one.value)}")
    return f"  {one.name}: {{{', '.join(words)}}}{note}"


def example_lines(values: Mapping[str, Any]) -> list[str]:
    words = [f"{name}: {scalar(value)}" for name, value in values.items()]
    lines, line = [], "example: {"
    for number, word in enumerate(words):
        word += ", " if number < len(words) - 1 else "}"
        if len(line) + len(word) > _WIDTH:
            lines.append(line.rstrip())
            line = "          "
        line += word
    return [*lines, line] if words else ["example: {}"]


def rule_lines(
    rules: Sequence[tuple[tuple[str, ...], tuple[str, ...], Mapping[str, str], str]],
) -> Iterator[str]:
    """The rules, those of one layer in a scope of it; each is its keys, its body and a comment."""
    scopes: dict[tuple[str, str], list[int]] = {}
    for number, (sources, targets, _, _) in enumerate(rules):
        scopes.setdefault((_shared(sources), _shared(targets)), []).append(number)
    for (left, right), numbers in scopes.items():
        inside = len(numbers) > 1 and (left or right)
        if inside:
            name = left if left == right else f"{left} -> {right}"
            yield f"  - scope: {key(name)}"
            yield "    tensors:"
        for number in numbers:
            sources, targets, body, note = rules[number]
            if inside:
                sources = tuple(text[len(left) :] for text in sources)
                targets = tuple(text[len(right) :] for text in targets)
            yield from _rule(sources, targets, body, note, "      " if inside else "  ")


def _shared(texts: Iterable[str]) -> str:
    """The prefix up to the first index that all have, if they have the same."""
    found = {match[0] if (match := _UP_TO_INDEX.match(text)) else "" for text in texts}
    return found.pop() if len(found) == 1 else ""


def _rule(
    sources: tuple[str, ...], targets: tuple[str, ...], body: Mapping[str, str], note: str, pad: str
) -> Iterator[str]:
    left, right = ", ".join(sources), ", ".join(targets)
    name = left if left == right and len(sources) == 1 else f"{left} -> {right}".strip()
    words = [f"{word}: {text}" for word, text in body.items()]
    short = f"{pad}- {key(name)}: {{{', '.join(words)}}}"
    comment = f"    # {note}" if note else ""
    if len(short) <= _WIDTH:
        yield short + comment
        return
    yield f"{pad}- {key(name)}:{comment}"
    for word in words:
        yield f"{pad}    {word}"
