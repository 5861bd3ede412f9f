"""A mapping file as typed values. `reading.py` makes them; past it nobody sees a dict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Any

from mapengine.errors import Where
from mapengine.language.document import Document
from mapengine.language.expressions import Expression
from mapengine.language.patterns import KeyPattern

Layout = frozenset[str]
"""The layouts that hold together: one of each of a side's choices, or of both sides'."""

SIDES = ("source", "target")

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING", "__slots__": ()})()
"""Told apart from null, which is a value."""


@dataclass(frozen=True, slots=True)
class ConfigPath:
    """A place in a config: the steps into the object, and the file where it is not the side's."""

    steps: tuple[str, ...]
    file: str | None = None

    def __str__(self) -> str:
        path = ".".join(step.replace(".", r"\.") for step in self.steps)
        return f"{self.file}:{path}" if self.file else path


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that may differ by layout: `(None, value)` for all, or one entry per layout."""

    entries: tuple[tuple[str | None, Any], ...] = ()

    def at(self, layout: Layout, default: Any = MISSING) -> Any:
        for name, value in self.entries:
            if name is None or name in layout:
                return value
        return default


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A name for expressions, and its place on either side.

    `defaults` are by side, and `whens`, which say where it is written. `words` translate what
    the source says: words, numbers, truths.
    """

    name: str
    places: dict[str, Choice]
    defaults: dict[str, Expression]
    value: Choice
    compute: Expression | None
    type: str | None
    words: dict[str | int | float, Any]
    whens: dict[str, Expression]
    optional: bool
    each: str | None
    where: Where

    def paths(self, side: str, layout: Layout) -> tuple[ConfigPath, ...]:
        """Where the field stands on a side; empty where it has no place there."""
        paths: tuple[ConfigPath, ...] = self.places[side].at(layout, ())
        return paths

    def each_of(self, value: Any, act: Callable[[Any], Any]) -> Any:
        """`act` on the value, or on each of its values where it has one per index."""
        if self.each is not None and isinstance(value, list):
            return [act(one) for one in value]
        return act(value)


@dataclass(frozen=True, slots=True)
class FilePattern:
    """Files by name, glob (`*`) or pattern (`{rank:02}`), and what their keys hang below."""

    pattern: KeyPattern
    prefix: KeyPattern | None
    where: Where

    @property
    def is_glob(self) -> bool:
        return "*" in self.pattern.text

    @property
    def is_plain(self) -> bool:
        return not self.is_glob and not self.pattern.names


TENSOR_FILE = "the tensor file"
"""Stands for a config's file where it lies in the tensor files, whatever they are called."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The config's file, and the steps to the object in it that is the config."""

    file: str
    at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SideLayout:
    """One published form: what of the side it says differently."""

    name: str
    tensors: tuple[FilePattern, ...] | None
    config: ConfigFile | None
    root: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """`source` or `target`: a folder with tensors and a config."""

    name: str
    tensors: tuple[FilePattern, ...]
    config: ConfigFile | None
    choices: tuple[tuple[SideLayout, ...], ...]
    ignore_tensors: tuple[KeyPattern, ...]
    ignore_config: tuple[ConfigPath, ...]
    ignore_objects: tuple[str, ...]
    """Classes in pickles, by full name; those that end in a dot stand for all below."""
    dtype: str | None
    root: str
    """Of all layouts that have none of their own: see `root_in`."""
    model: str | None
    where: Where

    @property
    def layout_names(self) -> frozenset[str]:
        """The names in all of its choices."""
        return frozenset(one.name for choice in self.choices for one in choice)

    def layouts(self) -> Iterator[Layout]:
        """Every combination of one layout of each choice, the first ones first."""
        combined: list[Layout] = [frozenset()]
        for choice in self.choices:
            combined = [have | {one.name} for have in combined for one in choice]
        return iter(combined)

    def layout_name(self, layout: Layout) -> str:
        """`a+b`: the layout's parts in the order of the choices."""
        names = [one.name for choice in self.choices for one in choice if one.name in layout]
        return "+".join(names) or "the one layout"

    def _chosen(self, layout: Layout) -> list[SideLayout]:
        return [one for choice in self.choices for one in choice if one.name in layout]

    def files(self, layout: Layout) -> tuple[FilePattern, ...]:
        """The file patterns of a layout: its own, or else the side's."""
        return next((o.tensors for o in self._chosen(layout) if o.tensors), self.tensors)

    def config_file(self, layout: Layout) -> ConfigFile | None:
        return next((o.config for o in self._chosen(layout) if o.config), self.config)

    def root_in(self, layout: Layout) -> str:
        """The path of the object in a tensor file that is the checkpoint: empty, or ends in /."""
        return next((o.root for o in self._chosen(layout) if o.root is not None), self.root)


@dataclass(frozen=True, slots=True)
class OpCall:
    """An op as it is written, its arguments still expressions, and the `names` in them.

    `path` is `rules[7].ops[0].split`.
    """

    name: str
    arguments: dict[str, Any]
    names: frozenset[str]
    where: Where
    path: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that the mapping itself says: its elements, its shape and its dtype.

    The elements are a word, or the number that all of them are; the dtype may be an expression.
    """

    value: str | Expression
    shape: tuple[Expression, ...]
    dtype: str | Expression

    def expressions(self) -> Iterator[Expression]:
        yield from self.shape
        yield from (one for one in (self.value, self.dtype) if isinstance(one, Expression))

    def __str__(self) -> str:
        return self.value.text if isinstance(self.value, Expression) else self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """Source patterns, target patterns, and what happens on the way.

    `shapes` and `dtypes` have one for each source, or none where the rule does not say.
    Without a source every target is the `constant`. Of each set in `layouts` one must hold: one of
    the rule itself, and of each scope around it.
    """

    sources: tuple[KeyPattern, ...]
    targets: tuple[KeyPattern, ...]
    shapes: tuple[tuple[Expression, ...], ...]
    dtypes: tuple[str, ...]
    ops: tuple[OpCall, ...]
    when: tuple[Expression, ...]
    layouts: tuple[frozenset[Layout], ...]
    optional: bool
    scope: tuple[str, str]
    constant: Constant | None
    where: Where
    path: str

    def keys(self, side: str) -> tuple[KeyPattern, ...]:
        """The patterns of one side."""
        return self.sources if side == "source" else self.targets

    def holds_in(self, layout: Layout) -> bool:
        return all(any(one <= layout for one in kept) for kept in self.layouts)

    def __str__(self) -> str:
        sources = ", ".join(p.text for p in self.sources)
        targets = ", ".join(p.text for p in self.targets)
        return sources if sources == targets else f"{sources} -> {targets}".strip()


@dataclass(frozen=True, slots=True)
class Mapping:
    """Everything in a mapping file."""

    name: str
    title: str
    sides: dict[str, Side]
    files: tuple[str, ...]
    fields: dict[str, ConfigField]
    carry: tuple[ConfigPath, ...]
    carry_rest: bool
    presets: dict[str, dict[str, Any]]
    dims: dict[str, Expression | tuple[str, ...]]
    rules: tuple[Rule, ...]
    example: AnyMapping[str, Any] | None
    document: Document = field(repr=False)

    @property
    def source(self) -> Side:
        return self.sides["source"]

    @property
    def target(self) -> Side:
        return self.sides["target"]

    def layouts(self) -> Iterator[Layout]:
        """Every layout of the source with every one of the target, the first ones first."""
        for source in self.source.layouts():
            for target in self.target.layouts():
                yield source | target

    def expressions(self) -> Iterator[Expression]:
        """Every expression of the config fields, and of the rules' conditions and shapes."""
        for one in self.fields.values():
            yield from (*one.defaults.values(), *one.whens.values())
            if one.compute is not None:
                yield one.compute
        for rule in self.rules:
            yield from rule.when
            yield from (size for shape in rule.shapes for size in shape)
            if rule.constant is not None:
                yield from rule.constant.expressions()

    def named(self) -> frozenset[str]:
        """Every name that is asked for anywhere in the file."""
        sizes = (size for size in self.dims.values() if isinstance(size, Expression))
        names = frozenset[str]().union(*(one.names for one in (*self.expressions(), *sizes)))
        for rule in self.rules:
            names = names.union(*(p.names for p in (*rule.sources, *rule.targets)))
            names = names.union(*(call.names for call in rule.ops))
        return names

    @property
    def sha256(self) -> str:
        """Of the file's text: what the receipt names it by."""
        return hashlib.sha256(self.document.text.encode()).hexdigest()
