"""Which output file holds which tensor. Names and cuts are huggingface_hub's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mapengine.errors import PlanError, Problem
from mapengine.specs import INDEX_SUFFIX, SUFFIXES

if TYPE_CHECKING:
    from mapengine.binding.binding import Binding
    from mapengine.planning.plan import PlannedTensor

_NUMBER = re.compile(r"([0-9]+)")
_OWN_NAMES = {"safetensors": "model.safetensors", "torch": "pytorch_model.bin"}


def shard_names(
    tensors: Sequence[PlannedTensor], binding: Binding, format: str | None, limit: int
) -> tuple[str, list[tuple[str, tuple[PlannedTensor, ...]]]]:
    """The format, and each file's name with its tensors, in the natural order of their keys."""
    from huggingface_hub import split_state_dict_into_shards_factory

    plain = [p.pattern.text for p in binding.write.files(binding.layout) if p.is_plain]
    if format not in (None, *_OWN_NAMES):
        known = ", ".join(_OWN_NAMES)
        raise PlanError(
            Problem("ME601", f"there is no format {format!r}", help=f"there are {known}")
        )
    if not plain:
        raise PlanError(
            Problem("ME601", f"the {binding.write.name} names no single file", binding.write.where)
        )
    name = plain[0]
    stem, dot, suffix = name.rpartition(".")
    own = SUFFIXES.get(dot + suffix, "safetensors")
    if format is not None and format != own:
        stem, dot, suffix = _OWN_NAMES[format].rpartition(".")
    ordered = {tensor.key: tensor for tensor in sorted(tensors, key=lambda t: natural(t.key))}
    split = split_state_dict_into_shards_factory(
        ordered,
        get_storage_size=lambda tensor: tensor.spec.nbytes,
        get_storage_id=lambda _: None,
        filename_pattern=f"{stem}{{suffix}}.{suffix}",
        max_shard_size=limit,
    )
    files = [
        (file, tuple(ordered[key] for key in keys))
        for file, keys in sorted(split.filename_to_tensors.items())
    ]
    return format or own, files or [(f"{stem}.{suffix}", ())]


def index_name(shards: Sequence[str]) -> str | None:
    """The name of the index that several shards want: `model.safetensors.index.json`."""
    if len(shards) < 2:
        return None
    stem, _, suffix = shards[0].rpartition(".")
    return f"{stem.rsplit('-', 3)[0]}.{suffix}{INDEX_SUFFIX}"


def natural(key: str) -> list[str | int]:
    """Sorts `layers.2` before `layers.10`: text and numbers in turn, the text first."""
    parts: list[str | int] = [*_NUMBER.split(key)]
    parts[1::2] = map(int, parts[1::2])
    return parts
