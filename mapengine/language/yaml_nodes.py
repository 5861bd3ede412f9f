"""YAML text to a tree of values with their places.

Built from the parser's events with a stack of its own, so that nothing recurses however deep the
text is nested, and with bounds on everything a hostile text could blow up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import yaml

from mapengine.errors import MappingError, Problem, Where, suggest
from mapengine.language.scalars import Scalar, read_scalar
from mapengine.language.yaml_hints import BRACES_HELP, KEYS_HELP, START_HELP, syntax_problem

MAX_DEPTH = 64
MAX_ALIASES = 200
MAX_NODES = 200_000
MAX_PROBLEMS = 20

# control characters, foreign line breaks, what turns the direction of text around, half a pair
FORBIDDEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

Key = str | int | float
"""A key, or a place in a list. Keys are words but in a table of values, where they are values."""

_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place; `via` is the place of the alias it was reached by.

    `size` counts the values in it and `height` the collections it nests, aliases expanded.
    """

    value: Any
    where: Where
    children: Mapping[Key, Node] = field(default_factory=dict)
    keys: Mapping[Key, Where] = field(default_factory=dict)
    size: int = 1
    height: int = 0
    via: Where | None = None


def parse_nodes(text: str, file: str) -> Node:
    """The root of the one document in `text`; raises all problems found, at most 20."""
    builder = _Builder(file, text.split("\n"))
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except (yaml.YAMLError, ValueError) as error:  # without libyaml, `\U` past Unicode
        raise MappingError(*builder.problems, syntax_problem(error, file, text)) from None
    if builder.problems:
        raise MappingError(*builder.problems)
    if builder.root is None or builder.root.value is None:
        builder.stop("ME101", "the file is empty", Where(file, 1, 1))
    return builder.root


def forbidden(character: str, where: Where) -> Problem:
    message = f"the control character U+{ord(character):04X} is not allowed in a mapping"
    return Problem("ME106", message, where)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come; `key` is the one that waits for its value."""

    value: Any
    where: Where
    anchor: str | None
    flow: bool
    children: dict[Key, Node] = field(default_factory=dict)
    keys: dict[Key, Where] = field(default_factory=dict)
    key: Key | None = None
    size: int = 1
    height: int = 1

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None

    def add(self, node: Node) -> None:
        if isinstance(self.value, dict):
            assert self.key is not None
            self.value[self.key] = node.value
            self.children[self.key] = node
            self.key = None
        else:
            self.children[len(self.value)] = node
            self.value.append(node.value)
        self.size += node.size
        self.height = max(self.height, node.height + 1)


class _Builder:
    """Takes the parser's events in order; `root` and `problems` are what came of them."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}  # None while the value is still open
        self.documents = self.aliases = self.nodes = 0

    def feed(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.start_document(event)
            case yaml.ScalarEvent():
                self.scalar(event)
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.CollectionStartEvent():
                self.open(event)
            case yaml.CollectionEndEvent():
                self.close(event)

    def start_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop("ME104", "a second document begins here; a mapping is one", self.where(event))
        if event.version not in (None, (1, 2)) or event.tags:
            message = "a directive is not read: a mapping is YAML 1.2"
            self.refuse("ME104", message, self.where(event), "leave the line out")

    def scalar(self, event: Any) -> None:
        where = self.where(event)
        self.refuse_tag(event, where)
        value: Scalar = event.value
        if event.implicit[0]:
            try:
                value = read_scalar(event.value)
            except ValueError as error:
                self.refuse("ME101", str(error), where, "quote it if it is a word")
        elif found := FORBIDDEN.search(event.value):  # double quotes can escape anything
            self.problem(forbidden(found[0], where))
        if self.stack and self.stack[-1].wants_key:
            self.key(event, value, where)
        else:
            self.anchor(event, where)
            self.add(Node(value, where), event.anchor)

    def key(self, event: Any, value: Scalar, where: Where) -> None:
        top = self.stack[-1]
        key: Key = event.value
        if isinstance(value, int | float) and self.in_values():
            key = value
        if key == "<<" and event.implicit[0]:
            help = "repeat the entries, or share the whole value: &name once, *name elsewhere"
            self.refuse("ME104", "merge keys are not read", where, help)
        elif not isinstance(value, str) and key is not value:
            help = f'quote it: "{key}"' + ("; a list stands in [ ]" if top.flow else "")
            self.refuse("ME105", f"the key {key or 'null'} is not a word", where, help)
        elif key in top.keys:
            message = f"the key {key!r} is here twice, first at {top.keys[key]}"
            self.refuse("ME102", message, where, "keep one of them")
        top.keys.setdefault(key, where)
        if not top.flow and len(top.keys) == 1:
            top.where = where  # not the anchor, which may stand on the line before
        top.key = key

    def in_values(self) -> bool:
        """Whether this is a field's `values`: there a key is a value, and `true` no word."""
        keys = [one.key for one in self.stack[:-1]]
        return len(keys) == 3 and (keys[0], keys[2]) == ("config", "values")

    def alias(self, event: Any) -> None:
        where = self.where(event)
        self.aliases += 1
        if self.stack and self.stack[-1].wants_key:
            self.stop(
                "ME105", "an alias cannot be a key", where, "a word that begins with *: quote it"
            )
        if self.aliases > MAX_ALIASES:
            self.stop("ME103", f"more than {MAX_ALIASES} aliases", where)
        node = self.anchors.get(event.anchor)
        if node is None:
            self.stop_at_unknown(event.anchor, where)
        if len(self.stack) + node.height > MAX_DEPTH:
            self.stop("ME103", f"nested more than {MAX_DEPTH} deep through this alias", where)
        self.add(replace(node, via=where), None)

    def open(self, event: Any) -> None:
        where = self.where(event)
        self.refuse_tag(event, where)
        if self.stack and self.stack[-1].wants_key:
            is_list = isinstance(event, yaml.SequenceStartEvent)
            help = KEYS_HELP if is_list else BRACES_HELP if self.stack[-1].flow else START_HELP
            self.stop("ME105", "a key is a word, not a list or an object", where, help)
        if len(self.stack) == MAX_DEPTH:
            self.stop("ME103", f"nested more than {MAX_DEPTH} deep", where)
        self.anchor(event, where)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, where, event.anchor, bool(event.flow_style)))

    def close(self, event: Any) -> None:
        done = self.stack.pop()
        where = done.where
        if done.flow and event.end_mark.line + 1 == where.line:
            where = replace(where, width=event.end_mark.column + 1 - where.column)
        self.nodes -= done.size - 1  # counted one by one as they came
        node = Node(done.value, where, done.children, done.keys, done.size, done.height)
        self.add(node, done.anchor)

    def anchor(self, event: Any, where: Where) -> None:
        if event.anchor is None:
            return
        if event.anchor in self.anchors:
            self.refuse("ME102", f"the anchor &{event.anchor} is here twice", where, "rename one")
        self.anchors[event.anchor] = None

    def add(self, node: Node, anchor: str | None) -> None:
        self.nodes += node.size
        if self.nodes > MAX_NODES:
            self.stop("ME103", f"more than {MAX_NODES} values, aliases expanded", node.where)
        if anchor is not None:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1].add(node)
        else:
            self.root = node

    def where(self, event: Any) -> Where:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.CollectionStartEvent):
            return Where(self.file, start.line + 1, start.column + 1)
        last = end.column if end.line == start.line else len(self.line(start.line))
        return Where(self.file, start.line + 1, start.column + 1, max(last - start.column, 1))

    def line(self, number: int) -> str:
        return self.lines[number] if number < len(self.lines) else ""

    def refuse_tag(self, event: Any, where: Where) -> None:
        if event.tag is not None:
            message = f"the tag {event.tag} is not read: a mapping is plain data"
            self.refuse("ME104", message, where, "leave the tag out, or quote the value")

    def refuse(self, code: str, message: str, where: Where, help: str = "") -> None:
        self.problem(Problem(code, message, where, help=help))

    def problem(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) == MAX_PROBLEMS:
            raise MappingError(*self.problems)

    def stop(self, code: str, message: str, where: Where, help: str = "") -> NoReturn:
        raise MappingError(*self.problems, Problem(code, message, where, help=help))

    def stop_at_unknown(self, name: str, where: Where) -> NoReturn:
        if name in self.anchors:
            self.stop("ME101", f"the alias *{name} stands inside its own anchor", where)
        message = f"there is no anchor &{name} above; a value that begins with * is an alias"
        help = suggest(name, self.anchors) or "quote it if it is a pattern"
        self.stop("ME101", message, where, help)
