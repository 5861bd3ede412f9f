"""Checkpoints with one word of their config another, gone, or there that was not; or a tensor more.

A mistake may be of no account to a config that is right, and let a wrong one through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from library.records import TORCH
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.binding.config_values import leaves, look_up, put
from mapengine.errors import MapengineError
from mapengine.language.document import read_document
from mapengine.language.mapping import TENSOR_FILE
from mapengine.language.patterns import KeyPattern, PatternError
from mapengine.specs import CONFIG_SUFFIXES
from mutants.places import Files, fields_elsewhere, other_value, without_optional

Steps = tuple[str, ...]


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
    source = Path(job.source)
    folder.mkdir()
    for i, files in enumerate(_files(job, ignored)):
        there = folder / str(i)
        there.mkdir()
        for file in source.iterdir():
            if file not in files:
                (there / file.name).symlink_to(file.resolve())
        for path, value in files.items():
            _write(there / path.name, value)
        changed = replace(job, source=there, follow_links=True)
        yield Altered(job.mapping.example, changed, _planned(changed))


def _planned(job: api.Job) -> Any:
    try:
        plan = api.plan(job)
    except MapengineError:
        return None
    objects = {shard.name: shard.objects for shard in plan.shards}
    return plan.configs, objects, {one.key: one.content.spec for one in plan.tensors}


def _files(job: api.Job, ignored: Mapping[str, list[str]]) -> Iterator[Files]:
    """What the files of a source might be instead."""
    mapping, reverse = job.mapping, job.reverse
    side = mapping.sides["target" if reverse else "source"]
    layout = api.example_layout(mapping, frozenset(job.layout.split("+")) if job.layout else None)
    config, root = side.config_file(layout), side.root_in(layout)
    files = {path: _read(path) for path in sorted(Path(job.source).iterdir())}
    files.pop(Path(job.source, "mapengine.json"), None)
    tensors = [path for path in files if path.suffix in (".safetensors", *TORCH)]
    words = ignored.get("config", [])
    for path, value in files.items():
        if path.suffix in (*CONFIG_SUFFIXES, *TORCH) and ".index." not in path.name:
            at = config.at if config and config.file in (path.name, TENSOR_FILE) else None
            yield from ({path: one} for one in _others(value, words, at))
    for path in {Path(job.source, word[:-1]) for word in words if word.endswith(":")}:
        at = config.at if config and config.file == path.name else ()
        yield {path: _with(files.get(path, {}), (*at, "left_over"), "x")}
    for entry in ignored.get("tensors", []):
        if (filled := _filled(entry, mapping)) is None:
            continue
        key = root + filled
        steps = (key,) if tensors[0].suffix == ".safetensors" else tuple(key.split("/"))
        yield {tensors[0]: _with(files[tensors[0]], steps, torch.ones(2))}
    plan = api.plan(job)
    yield from fields_elsewhere(job, plan, files)
    yield from without_optional(plan, files, tensors)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix in TORCH:
        return torch.load(path, weights_only=True)
    if path.suffix in CONFIG_SUFFIXES:
        return read_document(path.read_text(encoding="utf-8"), path.name).data
    return None


def _write(path: Path, value: Any) -> None:
    if path.suffix == ".safetensors":
        save_file(value, path)
    elif path.suffix in TORCH:
        torch.save(value, path)
    else:
        path.write_text(json.dumps(value), encoding="utf-8")  # which is YAML too


def _filled(key: str, mapping: Any) -> str | None:
    """A key that an entry of `ignore` stands for; None if the example alone does not tell."""
    first = {
        name: size[0] if isinstance(size, list | tuple) else 0
        for name, size in mapping.dims.items()
    }
    try:
        filled = KeyPattern.parse(key).fill({**first, **mapping.example})
    except PatternError:
        return None
    return filled + "x" if filled.endswith(".") else filled


def _others(value: Any, ignored: list[str], at: Steps | None) -> Iterator[Any]:
    """A file's object with one value another or gone, or one that is ignored in the config `at`."""
    for steps in leaves(value):
        was = look_up(value, steps)
        if isinstance(was, torch.Tensor):
            continue
        if was != (other := other_value(was)):
            yield _with(value, steps, other)
        gone = deepcopy(value)
        del look_up(gone, steps[:-1])[steps[-1]]
        yield gone
    if at is None:
        return
    for word in ignored:
        steps = (*at, *word.rstrip(".").split("."))
        if ":" not in word and isinstance(look_up(value, steps[:-1]), dict):
            yield _with(value, steps, {"x": 1} if word.endswith(".") else "x")


def _with(value: Any, steps: Steps, new: Any) -> Any:
    changed = deepcopy(value)
    put(changed, steps, new)
    return changed
