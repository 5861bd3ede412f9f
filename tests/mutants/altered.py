"""Checkpoints with one word of their config another, gone, or there that was not.

A mistake may be of no account to a config that is right, and let a wrong one through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mapengine import api
from mapengine.binding.config_values import leaves, look_up, put
from mapengine.errors import MapengineError


@dataclass(frozen=True)
class Altered:
    """An altered checkpoint, and what the right mapping plans to make of it; None if it refuses."""

    example: Mapping[str, Any]
    job: api.Job
    planned: Any

    def catches(self, mapping: Any) -> bool:
        """Whether a mapping plans to make something else of it."""
        varied = replace(mapping, example=self.example)
        return _planned(replace(self.job, mapping=varied)) != self.planned


def altered(job: api.Job, ignored: list[str], folder: Path) -> Iterator[Altered]:
    """All that one word makes of the source of a job; `ignored` are words it may have beside."""
    source, example = Path(job.source), job.mapping.example
    folder.mkdir()
    configs = [path for path in source.glob("*.json") if ".index." not in path.name]
    for path in configs:
        if path.name == "mapengine.json":
            continue
        config = json.loads(path.read_text())
        for i, other in enumerate(_others(config, ignored)):
            there = folder / f"{path.stem}-{i}"
            there.mkdir()
            for file in source.iterdir():
                (there / file.name).symlink_to(file.resolve())
            (there / path.name).unlink()
            (there / path.name).write_text(json.dumps(other))
            changed = replace(job, source=there)
            yield Altered(example, changed, _planned(changed))


def _planned(job: api.Job) -> Any:
    try:
        plan = api.plan(job)
    except MapengineError:
        return None
    objects = {shard.name: shard.objects for shard in plan.shards}
    return plan.configs, objects, {one.key: one.content.spec for one in plan.tensors}


def _others(config: Any, ignored: list[str]) -> Iterator[Any]:
    for steps in leaves(config):
        value = look_up(config, steps)
        if value != (other := _other(value)):
            yield _with(config, steps, other)
        gone = deepcopy(config)
        del look_up(gone, steps[:-1])[steps[-1]]
        yield gone
    for word in ignored:
        steps = tuple(word.rstrip(".").split("."))
        if ":" not in word and isinstance(look_up(config, steps[:-1]), dict):
            yield _with(config, steps, {"x": 1} if word.endswith(".") else "x")


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case [first, *rest]:
            return [_other(first), *rest]
    return "x"


def _with(config: Any, steps: tuple[str, ...], value: Any) -> Any:
    changed = deepcopy(config)
    put(changed, steps, value)
    return changed
