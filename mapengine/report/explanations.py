"""What becomes of a name, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mapengine.binding.config_values import ABSENT, told
from mapengine.errors import Problem, Where, one_line
from mapengine.explanation import Explained
from mapengine.explanation.fields import FieldExplained, Place
from mapengine.explanation.known import Remark
from mapengine.explanation.tensors import Change, Part, TensorExplained
from mapengine.explanation.words import WordExplained
from mapengine.report.plans import call_text
from mapengine.report.problems import problem_dict, problem_text
from mapengine.specs import TensorSpec

_EXAMPLE = ", in the mapping's example"
_SHOWN = 8
"""How many tensors of a step are listed."""


def explained_text(one: Explained) -> str:
    """What a person reads: the name, and a line for each thing there is to say of it."""
    match one:
        case TensorExplained():
            lines = _tensor(one)
        case FieldExplained():
            lines = _field(one)
        case Remark():
            lines = iter([f"{one.name}, of the {one.side}: {one.text}", f"  at  {_at(one.where)}"])
        case WordExplained():
            lines = _word(one)
    return "\n".join(map(one_line, lines))


def _at(where: Where | None) -> str:
    return str(where) if where else "nowhere in the mapping"


# -- tensors --------------------------------------------------------------------------------------


def _tensor(one: TensorExplained) -> Iterator[str]:
    rule = one.rule
    yield f"{one.name}, of the {' and the '.join(one.sides)}{_EXAMPLE if one.example else ''}"
    yield f"  rule   {rule.where}: {rule.path}: {rule}"
    indices = [f"{name} = {value}" for name, value in one.indices.items()]
    bound = [*indices, *([f"layout {one.layout}"] if one.layout else [])]
    if bound:
        yield f"  with   {', '.join(bound)}"
    if rule.when:
        yield f"  when   {' and '.join(when.text for when in rule.when)}"
    yield from _parts("takes", one.taken)
    if rule.constant is not None:
        yield f"  value  {rule.constant}, which the mapping says itself"
    yield from _changes(one.changes)
    if one.cast:
        yield f"  cast   to {one.cast}, as the side says that is written"
    yield from _parts("makes", one.made)
    if one.others:
        yield f"  beside {one.others} more tensors of the same step"
    yield from (f"  note   {note}" for note in one.notes)
    yield from _problems(one.problems)


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems:
        yield from (f"  {line}" for line in problem_text(problem).splitlines())


def _parts(word: str, parts: Sequence[Part]) -> Iterator[str]:
    shown = parts[:_SHOWN]
    keys = [_key(part) for part in shown]
    width = max(map(len, keys), default=0)
    for number, (key, part) in enumerate(zip(keys, shown, strict=True)):
        spec = "not there" if part.spec is None else str(part.spec)
        head = word if number == 0 else ""
        yield f"  {head:6} {key.ljust(width)}  {spec}{_home(part)}"
    if len(parts) > _SHOWN:
        yield f"         and {len(parts) - _SHOWN} more"


def _key(part: Part) -> str:
    ranks = "".join(f" [{name} = {value}]" for name, value in part.rank.items())
    return part.key + ranks


def _home(part: Part) -> str:
    if part.file is None:
        return ""
    if part.start is None or part.end is None:
        return f"  in {part.file}"
    return f"  in {part.file}, bytes {part.start:,} to {part.end:,}"


def _changes(changes: Sequence[Change]) -> Iterator[str]:
    texts = [f"{'undo ' if one.undone else ''}{call_text(one.call)}" for one in changes]
    width = max(map(len, texts), default=0)
    for one, text in zip(changes, texts, strict=True):
        line = f"line {one.call.where.line}"
        yield f"  op     {text.ljust(width)}  {_specs(one.before)} → {_specs(one.after)}  ({line})"


def _specs(specs: Iterable[TensorSpec]) -> str:
    """`8 × bfloat16 [4, 6]`."""
    counts = Counter(map(str, specs))
    return ", ".join(f"{n} × {spec}" if n > 1 else spec for spec, n in counts.items())


# -- config fields --------------------------------------------------------------------------------


def _field(one: FieldExplained) -> Iterator[str]:
    yield f"{one.name}, a config field{_EXAMPLE if one.example else ''}"
    yield f"  field  {one.field.where}"
    value = "none" if one.value is ABSENT else told(one.value)
    yield f"  value  {value}  ({one.origin})"
    yield from _places(f"{one.reads}, read", one.read)
    yield from _places(f"{one.writes}, written", one.written)
    yield from (f"  {word:6} {text}" for word, text in _said(one))
    if one.used:
        lines = ", ".join(str(where.line) for where in one.used)
        yield f"  used   {'line' if len(one.used) == 1 else 'lines'} {lines}"
    yield from _problems(one.problems)


def _places(side: str, places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        found = "absent" if place.value is ABSENT else told(place.value)
        yield f"  place  {place.path} = {found} ({side})"


def _said(one: FieldExplained) -> Iterator[tuple[str, str]]:
    """What the mapping says of a field beside its places."""
    field = one.field
    if field.compute is not None:
        yield "is", field.compute.text
    for side, default in field.defaults.items():
        yield "else", f"{default.text} ({side})"
    for side, when in field.whens.items():
        yield "when", f"{when.text} ({side})"
    if field.words:
        yield "words", ", ".join(f"{old} is {new}" for old, new in field.words.items())
    if field.each:
        yield "each", field.each


# -- words ----------------------------------------------------------------------------------------


def _word(one: WordExplained) -> Iterator[str]:
    yield f"{one.name}: {one.text}" if one.text else one.name
    if one.kinds and not one.parts:
        needed = ", required" if one.required else ""
        yield f"  {' or '.join(one.kinds)}{needed}"
    if one.choices:
        yield f"  one of: {', '.join(map(str, one.choices))}"
    if one.default is not None:
        yield f"  default: {told(one.default)}"
    yield from (f"  example: {told(example)}" for example in one.examples)
    width = max((len(name) for name, _ in one.parts), default=0)
    yield from (f"  {name.ljust(width)}  {' '.join(text.split())}" for name, text in one.parts)


# -- JSON -----------------------------------------------------------------------------------------


def explained_dict(one: Explained) -> dict[str, Any]:
    match one:
        case TensorExplained():
            return _tensor_dict(one)
        case FieldExplained():
            return _field_dict(one)
        case Remark():
            return {
                "kind": one.kind, "name": one.name, "side": one.side, "text": one.text,
                "where": _where(one.where),
            }  # fmt: skip
    return {
        "kind": "word", "name": one.name, "text": one.text, "types": list(one.kinds),
        "required": one.required, "default": one.default, "examples": list(one.examples),
        "choices": list(one.choices), "parts": dict(one.parts),
    }  # fmt: skip


def _where(where: Where | None) -> dict[str, Any] | None:
    return {"file": where.file, "line": where.line, "column": where.column} if where else None


def _tensor_dict(one: TensorExplained) -> dict[str, Any]:
    return {
        "kind": "tensor",
        "name": one.name,
        "sides": list(one.sides),
        "example": one.example,
        "rule": {"path": one.rule.path, "text": str(one.rule), "where": _where(one.rule.where)},
        "indices": one.indices,
        "layout": one.layout or None,
        "takes": [_part_dict(part) for part in one.taken],
        "value": str(one.rule.constant) if one.rule.constant else None,
        "ops": [
            {
                "op": call_text(change.call),
                "undone": change.undone,
                "line": change.call.where.line,
                "before": [_spec_dict(spec) for spec in change.before],
                "after": [_spec_dict(spec) for spec in change.after],
            }
            for change in one.changes
        ],
        "cast": one.cast,
        "makes": [_part_dict(part) for part in one.made],
        "others": one.others,
        "notes": list(one.notes),
        "problems": [problem_dict(problem) for problem in one.problems],
    }


def _part_dict(part: Part) -> dict[str, Any]:
    spec = _spec_dict(part.spec) if part.spec else {"dtype": None, "shape": None}
    inside = None if part.start is None else [part.start, part.end]
    return {"key": part.key, "ranks": part.rank, **spec, "file": part.file, "bytes": inside}


def _spec_dict(spec: TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype, "shape": list(spec.shape)}


def _field_dict(one: FieldExplained) -> dict[str, Any]:
    return {
        "kind": "config",
        "name": one.name,
        "where": _where(one.field.where),
        "value": None if one.value is ABSENT else one.value,
        "origin": one.origin,
        "reads": {"side": one.reads, "places": [_place_dict(place) for place in one.read]},
        "writes": {"side": one.writes, "places": [_place_dict(place) for place in one.written]},
        **dict(_said(one)),
        "used": [_where(where) for where in one.used],
        "example": one.example,
        "problems": [problem_dict(problem) for problem in one.problems],
    }


def _place_dict(place: Place) -> dict[str, Any]:
    there = place.value is not ABSENT
    return {"path": place.path, "there": there, "value": place.value if there else None}
