"""The small checkpoints whose conversion by the official scripts is on record.

A case is the mapping's own example, some of its values changed, in one layout: the script knows the
keys it wants, so a key that is wrong in the mapping is one that the script does not find. Cases
stand in `cases/MAPPING.yaml`, by name; `scripts/MAPPING.py` calls the script.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from language.checkpoints import changed

from library.records import recorded
from mapengine import api
from mapengine.checkpoints.config_text import config_text
from mapengine.checkpoints.example_files import noise
from mapengine.language.document import read_document
from mapengine.language.mapping import Layout
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.planning.example import example_settings
from mapengine.specs import TensorSpec

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """`example` changes the mapping's, and null takes a value from it; `options` are those of the
    `Job`, `script` of the script.

    `edits` are what a config of the source says otherwise, by file: what is `absent` is taken away.
    `aside` are config fields and tensors in which the script is not followed, each with the reason,
    `*` standing for any part of a name;
    `unloadable` says why the installed transformers does not load what the script makes either.
    `drifted` gives the tensors of one key other values in every file, as replicas come to have.
    """

    mapping: str
    name: str
    script: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)
    edits: Mapping[str, Any] = field(default_factory=dict)
    layout: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    back: Mapping[str, Any] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    unloadable: str = ""
    drifted: bool = False

    def __str__(self) -> str:
        return f"{self.mapping}-{self.name}"

    def loaded(self) -> MappingFile:
        mapping = api.load(self.mapping)
        example = {**(mapping.example or {}), **self.example}
        gone = [name for name, value in self.example.items() if value is None]
        return replace(mapping, example={n: v for n, v in example.items() if n not in gone})

    @property
    def chosen(self) -> Layout:
        wanted = frozenset(self.layout.split("+")) if self.layout else None
        return api.example_layout(self.loaded(), wanted)

    def write_source(self, folder: Path) -> dict[str, Any]:
        """Makes the checkpoint; what must be set to convert it is returned."""
        values = dict(api.make_example(self.loaded(), self.chosen, folder).values)
        if self.drifted:
            for path in sorted(folder.glob("*.pt")):
                torch.save(_drifted(torch.load(path), path.name), path)
        for name, change in self.edits.items():
            told = read_document((folder / name).read_text(encoding="utf-8"), name).data
            text = config_text(name, changed(told, change), sort=False)
            (folder / name).write_text(text, encoding="utf-8")
        return values

    @property
    def record(self) -> dict[str, Any]:
        """What the script made of it."""
        return recorded(self.mapping)[self.name]

    @property
    def back_values(self) -> dict[str, Any]:
        """What must be set on the way back."""
        return dict(example_settings(self.loaded(), self.chosen, "target").values)

    def job(self, folder: Path, values: Mapping[str, Any], **more: Any) -> api.Job:
        options = {"layout": self.layout or None, **self.options, **more}
        return api.Job(self.loaded(), folder, values=values, **options)


def _drifted(state: Any, name: str) -> Any:
    """The same tensors with values that their place and their file decide."""
    if isinstance(state, Mapping):
        return {key: _drifted(value, f"{name}:{key}") for key, value in state.items()}
    spec = TensorSpec(str(state.dtype).removeprefix("torch."), tuple(state.shape))
    raw = bytearray(noise(name, spec))
    return torch.frombuffer(raw, dtype=state.dtype).reshape(state.shape)


def _cases() -> Iterable[Case]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, body in read_document(path.read_text(encoding="utf-8"), path.name).data.items():
            yield Case(path.stem, name, **body)


CASES = {str(case): case for case in _cases()}
