"""The small checkpoints whose conversion by the official scripts is on record.

A case is the mapping's own example, some of its values changed, in one layout: the script knows the
keys it wants, so a key that is wrong in the mapping is one that the script does not find. Cases
stand in `cases/MAPPING.yaml`, by name; `scripts/MAPPING.py` calls the script.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mapengine import api
from mapengine.language.document import read_document
from mapengine.language.mapping import Layout
from mapengine.language.mapping import Mapping as MappingFile

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """`example` changes the mapping's; `options` are those of the `Job`, `script` of the script.

    `aside` are config fields in which the script is not followed, each with the reason;
    `unloadable` says why the installed transformers does not load what the script makes either.
    """

    mapping: str
    name: str
    script: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)
    layout: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    back: Mapping[str, Any] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    unloadable: str = ""

    def __str__(self) -> str:
        return f"{self.mapping}-{self.name}"

    def loaded(self) -> MappingFile:
        mapping = api.load(self.mapping)
        return replace(mapping, example={**(mapping.example or {}), **self.example})

    @property
    def chosen(self) -> Layout:
        wanted = frozenset(self.layout.split("+")) if self.layout else None
        return api.example_layout(self.loaded(), wanted)

    def write_source(self, folder: Path) -> dict[str, Any]:
        """Makes the checkpoint; what must be set to convert it is returned."""
        return dict(api.make_example(self.loaded(), self.chosen, folder).values)

    def job(self, folder: Path, values: Mapping[str, Any], **more: Any) -> api.Job:
        layout = self.layout or None
        return api.Job(
            self.loaded(), folder, values=values, layout=layout, **{**self.options, **more}
        )


def _cases() -> Iterable[Case]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, body in read_document(path.read_text(encoding="utf-8"), path.name).data.items():
            yield Case(path.stem, name, **body)


CASES = {str(case): case for case in _cases()}
