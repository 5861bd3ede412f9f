"""A mapping's text as plain data, and where each part of it stands in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mapengine.errors import MappingError, NotFoundError, Problem, Where, suggest
from mapengine.language.yaml_nodes import FORBIDDEN, Node, forbidden, parse_nodes
from mapengine.shipped import shipped_mappings
from mapengine.specs import SUFFIXES, YAML_SUFFIXES

MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Document:
    """The data of a YAML file. Values used through an alias are shared: read, never change them."""

    file: str
    text: str = field(repr=False)
    tree: Node = field(repr=False, compare=False)

    @property
    def data(self) -> Any:
        return self.tree.value

    def where(self, path: Sequence[str | int]) -> Where:
        """The place of the value at `path`, or of the nearest part of it that is there."""
        nodes = list(self._walk(path))
        return _through(nodes, nodes[-1].where)

    def where_key(self, path: Sequence[str | int]) -> Where:
        """The place of the key at the end of `path`; in a list, or if not there, as `where`."""
        nodes = list(self._walk(path))
        if len(nodes) == 1 or len(nodes) <= len(path):
            return self.where(path)
        *parents, node = nodes
        return _through(parents, parents[-1].keys.get(path[-1], node.where))

    def _walk(self, path: Sequence[str | int]) -> Iterator[Node]:
        node = self.tree
        yield node
        for part in path:
            if part not in node.children:
                return
            node = node.children[part]
            yield node


def load_document(path: str | Path) -> Document:
    """Reads a YAML file of at most 2 MiB; every way in which it can be wrong is a MappingError."""
    file = str(path)
    try:
        if Path(path).exists() and not Path(path).is_file():
            help = "a mapping is a .yaml file; a checkpoint's folder goes with --source"
            raise NotFoundError(Problem("ME100", f"{file} is not a file", help=help))
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"cannot read {file}: {reason}"
        raise NotFoundError(Problem("ME100", message, help=_near(Path(path)))) from None
    if len(content) > MAX_BYTES:
        raise MappingError(_too_large(file))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        where = _place(file, before, len(before))
        help = "save it as UTF-8"
        if Path(path).suffix in SUFFIXES:
            help = "this is a file of tensors: a mapping is a .yaml file"
        message = "the text is not UTF-8 from here on"
        raise MappingError(Problem("ME106", message, where, help=help)) from None
    return read_document(text, file)


def _near(path: Path) -> str:
    """A mapping of nearly that name, beside it or among those that ship."""
    try:
        beside = [one.name for one in path.parent.iterdir() if one.suffix in YAML_SUFFIXES]
    except OSError:
        beside = []
    ships = {f"{name}.yaml": name for name in shipped_mappings()}
    near = suggest(path.name, [*beside, *ships])
    for file in ships.keys() - beside:
        near = near.replace(f"{file!r}?", f"{ships[file]!r}? It ships, and is known by its name")
    return near or f"{path.absolute()} is where it was looked for"


def read_document(text: str, file: str) -> Document:
    """Reads YAML as version 1.2 has it; `file` is the name that its places carry."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise MappingError(_too_large(file))
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if found := FORBIDDEN.search(text):
        raise MappingError(forbidden(found[0], _place(file, text, found.start())))
    return Document(file, text, parse_nodes(text, file))


def _through(nodes: Sequence[Node], where: Where) -> Where:
    """`where` with the aliases that `nodes` were reached by, the innermost first."""
    via = None
    for node in nodes:
        if node.via:
            via = replace(node.via, via=via)
    return replace(where, via=via)


def _place(file: str, text: str, index: int) -> Where:
    line = text.count("\n", 0, index) + 1
    return Where(file, line, index - text.rfind("\n", 0, index))


def _too_large(file: str) -> Problem:
    return Problem("ME103", f"the file is larger than {MAX_BYTES >> 20} MiB", Where(file, 1, 1))
