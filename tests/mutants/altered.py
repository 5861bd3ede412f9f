"""Checkpoints with one word of their config another, gone, or there that was not; or a tensor more.

A mistake may be of no account to a config that is right, and let a wrong one through.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from library.records import TORCH
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.binding.config_values import leaves, look_up, put
from mapengine.errors import MapengineError
from mapengine.language.patterns import KeyPattern


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


def altered(job: api.Job, ignored: Mapping[str, list[str]], folder: Path) -> Iterator[Altered]:
    """All that one word makes of the source of a job, and one more key of those `ignored`."""
    source, numbers = Path(job.source), itertools.count()
    folder.mkdir()

    def with_other(path: Path, write: Callable[[Path], object]) -> Altered:
        there = folder / str(next(numbers))
        there.mkdir()
        for file in source.iterdir():
            if file != path:
                (there / file.name).symlink_to(file.resolve())
        write(there / path.name)
        changed = replace(job, source=there, follow_links=True)
        return Altered(job.mapping.example, changed, _planned(changed))

    for path in sorted(source.glob("*.json")):
        if path.name != "mapengine.json" and ".index." not in path.name:
            config = json.loads(path.read_text())
            for other in _others(config, ignored.get("config", [])):
                yield with_other(path, partial(_write_config, other))
    tensors = [path for path in sorted(source.iterdir()) if path.suffix in (".safetensors", *TORCH)]
    for key in ignored.get("tensors", []):
        yield with_other(tensors[0], partial(_write_tensors, tensors[0], _filled(key, job.mapping)))


def _write_config(config: Any, path: Path) -> None:
    path.write_text(json.dumps(config))


def _write_tensors(before: Path, key: str, path: Path) -> None:
    more = torch.ones(2)
    if path.suffix == ".safetensors":
        save_file(load_file(before) | {key: more}, path)
        return
    state = torch.load(before, weights_only=True)
    put(state, key.split("/"), more)
    torch.save(state, path)


def _filled(key: str, mapping: Any) -> str:
    """A key that an entry of `ignore` stands for."""
    first = {
        name: dim[0] if isinstance(dim, list | tuple) else 0 for name, dim in mapping.dims.items()
    }
    filled = KeyPattern.parse(key).fill({**first, **mapping.example})
    return filled + "x" if filled.endswith(".") else filled


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
