"""Names that no rule and no field takes: left behind by name, carried over, or forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from mapengine.binding.config_values import ABSENT, look_up
from mapengine.explanation.known import Known, Remark
from mapengine.language.reader import read_path


def remarks_on(known: Known, name: str) -> Iterator[Remark]:
    """What becomes of a name, if it is that of a tensor or a config key that is read."""
    yield from _tensor(known, name)
    yield from _config(known, name)


def _tensor(known: Known, name: str) -> Iterator[Remark]:
    binding = known.binding
    side, document = binding.read.name, binding.mapping.document
    root = binding.read.root_in(binding.layout)
    there = next((key for key, _ in binding.tensors if name in (key, root + key)), None)
    if binding.ignores(there or name):
        where = document.where_key((side, "ignore", "tensors"))
        found = "" if there else ", and not there"
        yield Remark(name, "ignored", side, where, f"left behind by name{found}")
    elif there is not None:
        where = document.where_key(("tensors",))
        yield Remark(name, "unmapped", side, where, "a tensor that no rule takes")


def _config(known: Known, name: str) -> Iterator[Remark]:
    names, mapping = known.binding.names, known.binding.mapping
    side, document, path = names.side, mapping.document, read_path(name)
    main = side.config_file(names.layout)
    if main is not None and path.file == main.file and path.steps[: len(main.at)] == main.at:
        path = type(path)(path.steps[len(main.at) :])
    there = look_up(names.config.start(path.file), path.steps) is not ABSENT
    found = "" if there else ", and not there"
    for entry in mapping.carry:
        if (entry.file, entry.steps) == (path.file, path.steps):
            where = document.where_key(("config", "carry"))
            yield Remark(name, "carried", side.name, where, f"carried over as it is{found}")
            return
    for entry in side.ignore_config:
        below = entry.steps[:-1] if entry.steps[-1] == "" else entry.steps
        if entry.file == path.file and path.steps[: len(below)] == below:
            where = document.where_key((side.name, "ignore", "config"))
            yield Remark(name, "ignored", side.name, where, f"left behind by name{found}")
            return
    if there and mapping.carry_rest and path.file is None:
        where = document.where_key(("config", "carry"))
        yield Remark(name, "carried", side.name, where, "carried over with the rest")
    elif there:
        where = document.where_key(("config",))
        yield Remark(name, "unmapped", side.name, where, "a config key that no field reads")
