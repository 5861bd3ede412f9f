"""What the functions are given, held to what they take: a slip of the type is told at once.

A checker of types finds the same before anything runs; notebooks have none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as AnyMapping
from typing import Any

from mapengine.language.mapping import Mapping
from mapengine.locations import URL

_PLACE = (str, os.PathLike, URL)
_PLACES = "a path or a URL as text"
_JOB = "mapengine.Job('MAPPING', 'CHECKPOINT')"
_FIELDS: dict[str, tuple[tuple[type, ...], bool, str]] = {
    "mapping": ((*_PLACE[:2], Mapping), False, "a path, or a name of `mapengine list`"),
    "source": (_PLACE, True, _PLACES),
    "values": ((AnyMapping,), True, "names and values: {'heads': 4}"),
    "preset": ((str,), True, "its name"),
    "dtype": ((str,), True, "its name: 'bfloat16'"),
    "layout": ((str,), True, "its name; several at once are 'one+other'"),
    "format": ((str,), True, "'safetensors' or 'torch'"),
    "max_shard_size": ((int,), False, "a number of bytes: 5_000_000_000"),
    "reverse": ((bool,), False, "True or False"),
    "then": ((*_PLACE[:2], Mapping), True, "a mapping, as the first one"),
    "then_reverse": ((bool,), False, "True or False"),
    "adapter": (_PLACE, True, _PLACES),
    "base_model": ((str,), True, "a name or a path as text"),
    "follow_links": ((bool,), False, "True or False"),
}
"""Of every field of a job: its types, whether it may be None, and how it is written."""
_RUN: dict[str, tuple[tuple[type, ...], bool, str]] = {
    "output": (_PLACE, False, "the folder to write, as a path or a URL"),
    "workers": ((int,), True, "a number of threads"),
    "memory": ((int,), False, "a number of bytes: 512_000_000"),
}


def check_fields(job: Any) -> None:
    """Raises `TypeError` for a job with a field of another kind."""
    for name, (kinds, optional, written) in _FIELDS.items():
        _check(f"Job({name}=...)", getattr(job, name), kinds, optional, written)


def check_job(job: Any, kind: type, function: str) -> None:
    """Raises `TypeError` for what is no job."""
    if not isinstance(job, kind):
        raise TypeError(f"{function}() takes a Job, not {_told(job)}: {function}({_JOB}, ...)")


def check_named(mapping: Any) -> None:
    """Raises `TypeError` for what names no mapping, and is none."""
    kinds, optional, written = _FIELDS["mapping"]
    _check("a mapping", mapping, kinds, optional, written)


def check_run(**given: Any) -> None:
    """Raises `TypeError` for an argument of `run` of another kind."""
    for name, value in given.items():
        _check(f"run({name}=...)", value, *_RUN[name])
    if given["workers"] is not None and given["workers"] < 1:
        raise ValueError(f"run(workers={given['workers']}): one at least must work")


def _check(what: str, value: Any, kinds: tuple[type, ...], optional: bool, written: str) -> None:
    if value is None and optional:
        return
    odd = isinstance(value, bool) and bool not in kinds  # True is an int to Python
    if odd or not isinstance(value, kinds):
        raise TypeError(f"{what} is {written}, not {_told(value)}")


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
