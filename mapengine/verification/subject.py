"""The folder under question, and what several checks want to know of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mapengine.checkpoints.inspection import Folder
from mapengine.checkpoints.links import SourceFolder, check_links
from mapengine.errors import MapengineError, Problem
from mapengine.specs import RECEIPT, TensorSpec
from mapengine.verification.oracle import fields, load_config, meta_model, model_class, quiet

CONFIG = "config.json"
SINGLES = ("model.safetensors", "pytorch_model.bin")
SELECTION = "it is a selection of tensors, and no model"
ROOTS = tuple(name for one in SINGLES for name in (one, f"{one}.index.json"))
"""What `from_pretrained` looks for, in its order; the first that is there is loaded."""
_MANY = {"layer": 1_000, "depth": 1_000, "expert": 20_000, "label": 1_000_000}
"""A model of more parts than these, and than there are tensors, would take for ever to make."""
_MANY_EXPERTS = 600_000  # of all layers
_NO_COUNT = re.compile("size|dim|channel")  # `shared_expert_intermediate_size`


@dataclass(frozen=True)
class Subject:
    folder: Folder
    load: bool = True

    @property
    def path(self) -> Path:
        """The folder: one of this machine, for transformers reads no other."""
        assert isinstance(self.folder.path, Path)
        return self.folder.path

    @property
    def source(self) -> SourceFolder:
        """The folder, to open files in."""
        return SourceFolder(self.folder.path, self.folder.follow_links)

    @cached_property
    def strays(self) -> list[Problem]:
        """Links that lead out of the folder: transformers would follow them."""
        return list(check_links(self.source, self.folder.names))

    @property
    def roots(self) -> list[str]:
        """The files of `ROOTS` that are there: more than one, and the folder is ambiguous."""
        return [name for name in ROOTS if name in self.folder.names]

    @property
    def parts(self) -> list[str]:
        """Files that are named as shards of one of `SINGLES`."""
        return sorted(name for name in self.folder.names if is_part(name))

    @property
    def shards(self) -> list[str]:
        """The files `from_pretrained` reads; some may not be there."""
        root = next(iter(self.roots), None)
        if root is None:
            return []
        return sorted(self.folder.listed(root)) if root in self.folder.indexes else [root]

    @property
    def unreadable(self) -> str:
        """Why the model checks cannot be asked, or nothing."""
        if self.is_selection:
            return SELECTION
        if not self.roots and not self.parts:
            return "the tensor files are not named as transformers names them"
        if not self.shards or not set(self.shards) <= self.folder.files.keys():
            return "not all tensor files can be read"
        if self.strays:
            return "a link in the folder is not followed here, and transformers would"
        return ""

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor that `from_pretrained` would find."""
        read = [self.folder.files[name] for name in self.shards if name in self.folder.files]
        return {key: stored.spec for file in read for key, stored in file.tensors.items()}

    @cached_property
    def written(self) -> dict[str, Any] | Problem:
        """config.json as it stands, or what is wrong with it."""
        if CONFIG not in self.folder.names:
            message = f"there is no {CONFIG}; transformers cannot tell what model this is"
            return Problem("ME721", message)
        try:
            written = self.folder.read_json(CONFIG)
        except MapengineError as error:
            return Problem("ME721", error.problems[0].message)
        if not isinstance(written, dict):
            return Problem("ME721", f"{CONFIG} is not a JSON object")
        return written

    @cached_property
    def meant_for(self) -> str | None:
        """The model class that the mapping in the receipt names, if it does."""
        mapping = self._receipt.get("mapping")
        return mapping.get("model") if isinstance(mapping, dict) else None

    @property
    def is_selection(self) -> bool:
        """Whether the receipt says that some of the tensors were asked for alone."""
        options = self._receipt.get("options")
        return bool(options.get("select")) if isinstance(options, dict) else False

    @cached_property
    def _receipt(self) -> dict[str, Any]:
        """The receipt as it stands; empty where there is no good one, which its own check tells."""
        if RECEIPT not in self.folder.names:
            return {}
        try:
            receipt = self.folder.read_json(RECEIPT)
        except MapengineError:
            return {}
        return receipt if isinstance(receipt, dict) else {}

    @cached_property
    def config(self) -> Any:
        """The config as transformers reads it, or the `Problem` with it."""
        if isinstance(self.written, Problem):
            return self.written
        if self.strays:
            return self.strays[0]
        tensors = len(self.specs)
        endless = _endless(self.written, tensors)  # before loading, which makes a list of layers
        if endless:
            return endless
        with quiet():
            config = load_config(self.path)
            if isinstance(config, Problem):
                return config
            return _endless(fields(config), tensors) or config

    @cached_property
    def model_class(self) -> Any:
        """The class that config.json names, or the `Problem` with it."""
        if isinstance(self.config, Problem):
            return self.config
        with quiet():
            return model_class(self.config)

    @cached_property
    def model(self) -> Any:
        """The model without data, where there is a class. Raises whatever that raises."""
        return meta_model(self.model_class, self.config)


def _endless(fields: Mapping[str, Any], tensors: int) -> Problem | None:
    """The problem with a config that has many more layers or experts than tensors could fill."""
    found = list(_counts(fields))
    for name, count in found:
        least = max(many for word, many in _MANY.items() if word in name)
        if count > max(tensors, least):
            message = f"{CONFIG} has {name[:80]} {count:,}, the files hold {tensors:,} tensors"
            return Problem("ME734", message)
    layers, experts = (
        max((count for name, count in found if word in name), default=1)
        for word in ("layer", "expert")
    )
    if layers * experts > max(tensors, _MANY_EXPERTS):
        message = f"{CONFIG} has {layers:,} layers of {experts:,} experts"
        return Problem("ME734", f"{message}, the files hold {tensors:,} tensors")
    return None


def _counts(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """The numbers of layers and the like in a config, and in the configs within it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _counts(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _counts(inner, name)
    elif type(value) is int and any(word in name for word in _MANY) and not _NO_COUNT.search(name):
        yield name, value


def is_part(name: str, singles: Sequence[str] = SINGLES) -> bool:
    """`model-00001-of-00002.safetensors` and its kin."""
    matched = re.fullmatch(r"(.+)-[0-9]+-of-[0-9]+\.(.+)", name)
    return matched is not None and f"{matched[1]}.{matched[2]}" in singles
