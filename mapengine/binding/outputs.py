"""Which files a side is written as, and which tensor goes into which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from mapengine.binding.config_values import ValueProblem
from mapengine.binding.inventory import Address, ResolvedFile, index_names
from mapengine.binding.names import ModelNames
from mapengine.binding.scope import Scope
from mapengine.language.mapping import FilePattern, Side
from mapengine.language.patterns import KeyPattern


def output_files(names: ModelNames, side: Side) -> list[ResolvedFile]:
    """Every file of a side as it is written, with its indices and what its keys hang below.

    Its patterns with indices or prefixes, if it has any, else its first plain name. Raises
    `ExpressionError` and `UnboundName`.
    """
    files: dict[str, ResolvedFile] = {}
    for pattern in _patterns(side.files(names.layout)):
        for file in _files_of(pattern, names):
            files.setdefault(file.name, file)
    return list(files.values())


def _patterns(patterns: Sequence[FilePattern]) -> list[FilePattern]:
    with_indices = [p for p in patterns if p.pattern.names or p.prefix]
    plain = [p for p in patterns if p.is_plain] or [_named(p) for p in patterns if p.is_glob]
    if any(pattern.prefix for pattern in with_indices):  # what has no prefix is in a file beside
        return with_indices + plain[:1]
    return with_indices or plain[:1]


def _named(glob: FilePattern) -> FilePattern:
    """A file that a glob finds: `*.safetensors` or `model-*.safetensors`: `model.safetensors`."""
    text = glob.pattern.text.replace("-*", "").replace("*", "model")
    return replace(glob, pattern=KeyPattern.parse(text))


def _files_of(pattern: FilePattern, names: ModelNames) -> Iterator[ResolvedFile]:
    indices = index_names(pattern, names.mapping.dims.get, names.known)
    ranges = []
    for name in indices:
        values = names.range_of(name)
        values = _counted(pattern, names) if values is None else values
        if values is None:
            message = f"how many files there are of {pattern.pattern.text!r} is not said"
            raise ValueProblem(message, f"give {name!r} a range under dims")
        ranges.append(values)
    for chosen in product(*ranges):
        inside = dict(zip(indices, chosen, strict=True))
        scope = Scope(names, inside)
        prefix = pattern.prefix.fill(scope) if pattern.prefix else ""
        yield ResolvedFile(pattern.pattern.fill(scope), tuple(inside.items()), prefix)


def _counted(pattern: FilePattern, names: ModelNames) -> Sequence[int | str] | None:
    """The range of an index without one in `dims`: by the field that counts the files, if any."""
    question = (("count", (pattern.pattern.text,)),)
    for field in names.mapping.fields.values():
        compute = field.compute
        if compute is not None and compute.calls == question and not compute.names:
            return range(names.value(field.name))
    return None


def home(
    address: Address, ranks: Sequence[str], files: Sequence[ResolvedFile], root: str
) -> tuple[str, str] | None:
    """The file a tensor is written to, and its key there: the longest prefix has it."""
    key, rank = address
    wanted = set(zip(ranks, rank, strict=True))
    fit = [f for f in files if key.startswith(f.prefix) and wanted <= set(f.indices)]
    if not fit:
        return None
    file = max(fit, key=lambda file: len(file.prefix))
    return file.name, root + key.removeprefix(file.prefix)
