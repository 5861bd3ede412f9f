"""What makes two runs the same one: then the second goes on where the first stopped, or is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from mapengine import __version__
from mapengine.checkpoints.links import SourceFolder
from mapengine.planning.plan import Plan
from mapengine.specs import FileContents


def identity(plan: Plan, source: SourceFolder, hash: bool) -> dict[str, str]:
    """One digest for each thing that decides what is written, by a name that a user knows.

    It does not depend on where the files lie, nor on when. Raises `CheckpointError`.
    """
    plans = [plan, *_before(plan)]
    return {
        "the version of mapengine": __version__,
        "the mapping": _digest([one.mapping.sha256 for one in plans]),
        "the options": _digest([[_options(one) for one in plans], hash]),
        "the source": _digest(
            [
                {name: _header(file) for name, file in plan.stored.items()},
                {name: _content(source, name) for name in plan.companions},
            ]
        ),
        "the plan": plan.fingerprint,
    }


def times(plan: Plan, source: SourceFolder) -> dict[str, str]:
    """When the files of the source last changed: those of two runs on the same bytes are equal.

    On whatever machine they run: device and inode of a file are another number on each.
    """
    first = 0 if source.is_elsewhere else 2
    stamps = {name: file.stamp[first:] for name, file in plan.stored.items()}
    return {"the times of the source's files": _digest(stamps)}


def _before(plan: Plan) -> Iterable[Plan]:
    while plan.after:
        plan = plan.after
        yield plan


def _options(plan: Plan) -> Any:
    settings = plan.binding.names.settings
    return [
        plan.binding.read.name,
        sorted(plan.binding.layout),
        settings.dtype,
        plan.format,
        plan.options.max_shard_size,
        plan.options.select,
        settings.preset,
        dict(settings.values),
    ]


def _header(file: FileContents) -> Any:
    tensors = {key: str(stored) for key, stored in file.tensors.items()}
    return [file.size, tensors, file.objects]


def _content(source: SourceFolder, name: str) -> str:
    with source.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
