"""Config fields by example: which value of one config is which of the other's."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mapengine.binding.config_values import equal, told
from mapengine.inference.contents import Checkpoint
from mapengine.inference.names import likeness, shared
from mapengine.language.arithmetic import FUNCTIONS
from mapengine.language.expression_syntax import CONSTANTS, QUESTIONS

_TELLING = 0.6
"""The part of their words that names must share for a value that says little to pair them."""
_SAME_PLACE = 0.9


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value of a config: its path as a mapping writes it, its last word, and the value."""

    path: str
    word: str
    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """A config field: its places on either side, or what it is computed from, and any doubt."""

    name: str
    value: Any
    source: str | None = None
    targets: tuple[str, ...] = ()
    compute: str | None = None
    constant: bool = False
    note: str = ""
    unsure: bool = False


@dataclass
class Fields:
    """The fields of a mapping, by name; `ignored` are paths of the source that are for nothing."""

    listed: dict[str, Field] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def add(self, one: Field) -> None:
        name, number = one.name, 2
        while name in self.listed:
            name, number = f"{one.name}_{number}", number + 1
        self.listed[name] = replace(one, name=name)

    def update(self, name: str, **changes: Any) -> None:
        self.listed[name] = replace(self.listed[name], **changes)


def leaves(checkpoint: Checkpoint) -> list[Leaf]:
    """Every value of the configs, those of the main one first."""
    found: list[Leaf] = []
    files = sorted(checkpoint.configs, key=lambda name: name != checkpoint.main)
    for name in files:
        prefix = "" if name in (checkpoint.main, "") else f"{name}:"
        found += (
            Leaf(prefix + ".".join(step.replace(".", r"\.") for step in steps), steps[-1], value)
            for steps, value in _walk(checkpoint.configs[name], ())
        )
    return found


def _walk(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _walk(inner, (*steps, str(key)))
    elif steps:
        yield steps, value


def paired(source: Sequence[Leaf], target: Sequence[Leaf]) -> tuple[Fields, list[Leaf]]:
    """The fields that both sides have, and the target's values that remain.

    The likest names with equal values are paired first; a value that is paired goes again only to
    a place of nearly the same name. What else has that value is told.
    """
    fields = Fields()
    pairs = sorted(
        (-_score(one, other), j, i)
        for j, other in enumerate(target)
        for i, one in enumerate(source)
        if equal(one.value, other.value)
    )
    chosen: dict[int, int] = {}  # target: source
    taken: dict[int, int] = {}  # source: the first target
    for least in (_TELLING, 0.1, 0.0):  # what says little is paired last, or not at all
        for _, j, i in pairs:
            alike = (
                source[i].path == target[j].path or shared(source[i].word, target[j].word) >= least
            )
            if (
                j in chosen
                or not alike
                or (least < _TELLING and not _tells(source[i].value, least))
            ):
                continue
            first = taken.get(i)
            if first is None or likeness(target[first].word, target[j].word) >= _SAME_PLACE:
                chosen[j] = i
                taken.setdefault(i, j)
    for i, first in sorted(taken.items(), key=lambda one: one[1]):
        places = sorted(j for j, other in chosen.items() if other == i)
        note = _doubt(source, target, i, first)
        fields.add(
            Field(
                _name(target[first].word), source[i].value, source[i].path,
                tuple(target[j].path for j in places), note=note, unsure=bool(note),
            )
        )  # fmt: skip
    return fields, [leaf for j, leaf in enumerate(target) if j not in chosen]


def _score(source: Leaf, target: Leaf) -> float:
    if source.path == target.path:
        return 2.0
    near = likeness(source.word, target.word)
    if type(source.value) is not type(target.value):
        near -= 0.1
    return near + 0.1 * likeness(source.path, target.path)


def _tells(value: Any, shared: float) -> bool:
    """Whether few things have this value by chance; the fewer where names share nothing."""
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return False
    return not isinstance(value, int | float) or abs(value) > (1 if shared else 8)


def _doubt(source: Sequence[Leaf], target: Sequence[Leaf], i: int, j: int) -> str:
    """Which other value would have done as well, where the names do not settle it."""
    ours, theirs = source[i], target[j]
    if ours.path == theirs.path:
        return ""
    own = likeness(ours.word, theirs.word)
    others = [
        leaf.path
        for k, leaf in enumerate(source)
        if k != i
        and equal(leaf.value, ours.value)
        and likeness(leaf.word, theirs.word) > own - 0.25
    ]
    if others:
        return f"a tie: {', '.join(others[:3])} is {told(ours.value)} too"
    return "by its value alone" if own < 0.2 else ""


def _name(word: str) -> str:
    """A name for expressions: letters, digits and `_`."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in word).strip(
        "_"
    )
    plain = plain if plain and not plain[0].isdigit() else f"field_{plain}"
    return f"{plain}_" if plain in _RESERVED or keyword.iskeyword(plain) else plain


_RESERVED = frozenset({
    *CONSTANTS, *QUESTIONS, *FUNCTIONS, "layout", "carry", "rank", "ranks",
})  # fmt: skip


def named_source(fields: Fields, leaf: Leaf) -> str:
    """A field for a value of the source alone; its name."""
    before = set(fields.listed)
    fields.add(Field(_name(leaf.word), leaf.value, leaf.path))
    return next(iter(fields.listed.keys() - before))


def computed(fields: Fields, leaf: Leaf, expression: str, note: str = "") -> None:
    """A field of the target that is worked out."""
    fields.add(
        Field(
            _name(leaf.word),
            leaf.value,
            None,
            (leaf.path,),
            expression,
            note=note,
            unsure=bool(note),
        )
    )


def constant(fields: Fields, leaf: Leaf) -> None:
    """A field of the target that nothing in the source explains: the same for all, it is taken."""
    fields.add(Field(_name(leaf.word), leaf.value, None, (leaf.path,), constant=True))
