"""How a source lies in files, in the forms that checkpoints come in; written as others write."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor


class Quoted(yaml.SafeDumper):
    """Quotes all text: version 1.1 of YAML leaves those of 1e5 out, a number in version 1.2."""


Quoted.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)

TORCH = (".pt", ".pth", ".bin")
Files = dict[str, dict[str, Tensor]]


@dataclass
class Form:
    """What a mapping says of its source's files, and how tensors are dealt to them."""

    side: dict[str, Any]
    names: list[str]
    config: Any = "params.json"
    block: str = "layers.{layer}."
    root: str = ""
    ranked: bool = False
    by_layer: bool = False
    layouts: list[str] = field(default_factory=list)
    layout: str | None = None
    words: set[str] = field(default_factory=set)

    def deal(self, chance: random.Random, tensors: Mapping[tuple[str, int], Tensor]) -> Files:
        """Every tensor, by key and rank, in a file; the order is no one's business."""
        files: Files = {}
        names = self.names
        alone = self.ranked or self.by_layer or isinstance(self.config, dict)
        if len(names) == 1 and not alone and chance.random() < 0.5:
            stem, suffix = names[0].rsplit(".", 1)
            count = chance.randint(2, 3)
            names = [f"{stem}-{i + 1:05}-of-{count:05}.{suffix}" for i in range(count)]
        files = {} if self.ranked or self.by_layer else {name: {} for name in names}
        for (key, rank), one in chance.sample([*tensors.items()], len(tensors)):
            name, inside = chance.choice(names), key
            if self.ranked:
                name = f"rank.{rank:02}.pt"
            elif self.by_layer and key.startswith("h."):
                _, layer, inside = key.split(".", 2)
                name = f"layer_{int(layer):02}.pt"
            files.setdefault(name, {})[self.root + inside] = one
        return files


def form_at_random(chance: random.Random) -> Form:
    form = chance.choice(_FORMS)(chance)
    if chance.random() < 0.2 and isinstance(form.config, str):
        form.config = chance.choice(["config.yaml", "params.json"])
    return form


def _one_file(chance: random.Random) -> Form:
    name = chance.choice(["weights.safetensors", "weights.pt", "model.bin"])
    form = Form({"tensors": name}, [name])
    if name == "weights.pt" and chance.random() < 0.5:
        form.config = {"file": name, "at": "args"}
    return form


def _glob(chance: random.Random) -> Form:
    suffix = chance.choice(["pth", "safetensors"])
    names = [f"part.{i}.{suffix}" for i in range(chance.randint(1, 4))]
    return Form({"tensors": [f"whole.{suffix}", f"part.*.{suffix}"]}, names, words={"glob"})


def _ranked(chance: random.Random) -> Form:
    return Form({"tensors": "rank.{rank:02}.pt"}, ["."], ranked=True, words={"rank"})


def _by_layer(chance: random.Random) -> Form:
    files = [{"files": "layer_{layer:02}.pt", "prefix": "h.{layer}."}, "shared.pt"]
    return Form(
        {"tensors": files}, ["shared.pt"], block="h.{layer}.", by_layer=True, words={"prefix"}
    )


def _rooted(chance: random.Random) -> Form:
    return Form(
        {"tensors": "state.pt", "root": "model/inner/"}, ["state.pt"], root="model/inner/",
        words={"root"},
    )  # fmt: skip


def _layouts(chance: random.Random) -> Form:
    choices = {
        "alpha": {"tensors": "alpha.safetensors"},
        "beta": {"tensors": "beta.pt", "root": "beta/"},
        "gamma": {"tensors": ["gamma.pth"]},
    }
    layout = chance.choice([*choices])
    name = {"alpha": "alpha.safetensors", "beta": "beta.pt", "gamma": "gamma.pth"}[layout]
    return Form(
        {"layouts": choices}, [name], layouts=[*choices], layout=layout, words={"layouts"},
        root="beta/" if layout == "beta" else "",
    )  # fmt: skip


_FORMS = [_one_file, _one_file, _glob, _ranked, _by_layer, _rooted, _layouts]


def write_source(
    folder: Path, files: Files, form: Form, config: Any, companions: Mapping[str, bytes]
) -> None:
    """Writes a source as others would."""
    folder.mkdir()
    inside = form.config if isinstance(form.config, dict) else None
    for number, (name, tensors) in enumerate(files.items()):
        held = {key: one.clone() for key, one in tensors.items()}
        if name.endswith(".safetensors"):
            save_file(held, folder / name)
            continue
        state: dict[str, Any] = {}
        for key, one in held.items():
            *steps, last = key.split("/")
            inner = state
            for step in steps:
                inner = inner.setdefault(step, {})
            inner[last] = one
        if inside and number == 0:
            state[inside["at"]] = config
        torch.save(state, folder / name, _use_new_zipfile_serialization=number % 2 == 0)
    if config is not None and not inside:
        text = (
            yaml.dump(config, Dumper=Quoted) if form.config.endswith("yaml") else json.dumps(config)
        )
        (folder / form.config).write_text(text, encoding="utf-8")
    for name, content in companions.items():
        (folder / name).write_bytes(content)


def tensors_in(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Every tensor of a folder by file and key, nested keys with slashes."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found[path.name] = load_file(path)
        elif path.suffix in TORCH:
            found[path.name] = {
                key: value
                for key, value in _flat(torch.load(path, weights_only=True))
                if isinstance(value, Tensor)
            }
    return found


def _flat(state: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in state.items():
        flat += (
            _flat(value, f"{prefix}{key}/") if isinstance(value, dict) else [(prefix + key, value)]
        )
    return flat


def config_in(folder: Path, where: Any) -> Any:
    """A config of a folder: a file's, or an object in a torch file."""
    if isinstance(where, dict):
        return torch.load(folder / where["file"], weights_only=True)[where["at"]]
    text = (folder / where).read_text(encoding="utf-8")
    return yaml.safe_load(text) if where.endswith("yaml") else json.loads(text)
