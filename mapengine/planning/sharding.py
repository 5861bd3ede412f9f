"""Which output file holds which tensor. Names and cuts are huggingface_hub's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mapengine.binding import config_values
from mapengine.binding.inventory import shards_of
from mapengine.binding.outputs import home
from mapengine.errors import PlanError, Problem
from mapengine.language.mapping import TENSOR_FILE, Side
from mapengine.specs import CONFIG_SUFFIXES, INDEX_SUFFIX, SUFFIXES

if TYPE_CHECKING:
    from mapengine.binding.binding import Binding
    from mapengine.planning.plan import PlannedTensor

_PART = re.compile(r"-[0-9]{5,}-of-[0-9]{5,}\.[a-z]+$")
_NUMBER = re.compile(r"([0-9]+)")
_OWN_NAMES = {"safetensors": "model.safetensors", "torch": "pytorch_model.bin"}


Shards = list[tuple[str, "tuple[PlannedTensor, ...]"]]


def shard_names(
    tensors: Sequence[PlannedTensor], binding: Binding, format: str | None, limit: int
) -> tuple[str, Shards]:
    """The format, and each file's name with its tensors, in the natural order of their keys.

    The tensors have the keys they have in the files. Raises `PlanError`.
    """
    if format not in (None, *_OWN_NAMES):
        known = ", ".join(_OWN_NAMES)
        raise PlanError(
            Problem("ME601", f"there is no format {format!r}", help=f"there are {known}")
        )
    files = binding.outputs
    if not files:
        raise PlanError(
            Problem("ME601", f"the {binding.write.name} names no file", binding.write.where)
        )
    own = SUFFIXES.get(PurePath(files[0].name).suffix, "safetensors")
    ordered = sorted(tensors, key=lambda tensor: natural(tensor.key))
    if len(files) > 1 or files[0].indices or files[0].prefix:
        if format not in (None, own):
            message = f"the {binding.write.name} is files of its own names, and those are {own}"
            raise PlanError(Problem("ME601", message, binding.write.where))
        return own, _housed(ordered, binding)
    stem, _, suffix = files[0].name.rpartition(".")
    if format is not None and format != own:
        stem, _, suffix = _OWN_NAMES[format].rpartition(".")
    whole = binding.write.name == "source" and (format or own) == "torch"  # nobody cut those
    root = binding.write.root_in(binding.layout)
    keyed = [replace(tensor, key=root + tensor.key) if root else tensor for tensor in ordered]
    return format or own, _cut(keyed, stem, suffix, sys.maxsize if whole else limit)


def _cut(tensors: Sequence[PlannedTensor], stem: str, suffix: str, limit: int) -> Shards:
    """One file, or several of at most `limit` bytes."""
    from huggingface_hub import split_state_dict_into_shards_factory

    by_key = {tensor.key: tensor for tensor in tensors}
    split = split_state_dict_into_shards_factory(
        by_key,
        get_storage_size=lambda tensor: tensor.spec.nbytes,
        get_storage_id=lambda _: None,
        filename_pattern=f"{stem}{{suffix}}.{suffix}",
        max_shard_size=limit,
    )
    files = [
        (file, tuple(by_key[key] for key in keys))
        for file, keys in sorted(split.filename_to_tensors.items())
    ]
    return files or [(f"{stem}.{suffix}", ())]


def _housed(tensors: Sequence[PlannedTensor], binding: Binding) -> Shards:
    """Each tensor in the file that its file indices, or the beginning of its key, name."""
    shards: dict[str, list[PlannedTensor]] = {file.name: [] for file in binding.outputs}
    problems: dict[str, Problem] = {}
    root = binding.write.root_in(binding.layout)
    for tensor in tensors:
        address = (tensor.key, tensor.rank)
        found = home(address, binding.written_ranks, binding.outputs, root)
        if found is None:
            message = f"{tensor.key} belongs to no file of the {binding.write.name}"
            rule = tensor.rule
            problems.setdefault(rule.path, Problem("ME601", message, rule.where, rule.path))
            continue
        name, key = found
        shards[name].append(replace(tensor, key=key))
    if problems:
        raise PlanError(*problems.values())
    return [(name, tuple(held)) for name, held in shards.items()]


def is_inside(config: str) -> bool:
    """Whether a config of this name is written into a tensor file."""
    return config == TENSOR_FILE or PurePath(config).suffix in SUFFIXES


def can_be_written(config: str) -> bool:
    """Whether there is a way to write a config of this name."""
    return is_inside(config) or PurePath(config).suffix in CONFIG_SUFFIXES


def with_objects(
    shards: Shards, configs: Mapping[str, Any], side: Side
) -> list[tuple[str, tuple[PlannedTensor, ...], dict[str, Any]]]:
    """The files with the configs that lie in them; a file of its own for one that is in none.

    Raises `PlanError` where a file is of a format that holds tensors alone.
    """
    held = {name: deepcopy(configs.get(TENSOR_FILE, {})) for name, _ in shards}
    for name, config in configs.items():
        for file in {name} & held.keys() or shards_of(name, held) or {name} - {TENSOR_FILE}:
            for leaf in config_values.leaves(config):
                value = config_values.look_up(config, leaf)
                config_values.put(held.setdefault(file, {}), leaf, value)
    for name, objects in held.items():
        if objects and SUFFIXES.get(PurePath(name).suffix) != "torch":
            message = f"{name} is no torch file, and only those hold a config beside tensors"
            raise PlanError(Problem("ME601", message, side.where, f"{side.name}.config"))
    tensors = dict(shards)
    return [(name, tensors.get(name, ()), objects) for name, objects in held.items()]


def index_name(shards: Sequence[str]) -> str | None:
    """The name of the index that several shards want: `model.safetensors.index.json`."""
    if not shards or not _PART.search(shards[0]):
        return None
    stem, _, suffix = shards[0].rpartition(".")
    return f"{stem.rsplit('-', 3)[0]}.{suffix}{INDEX_SUFFIX}"


def natural(key: str) -> list[str | int]:
    """Sorts `layers.2` before `layers.10`: text and numbers in turn, the text first."""
    parts: list[str | int] = [*_NUMBER.split(key)]
    parts[1::2] = map(int, parts[1::2])
    return parts
