"""The small checkpoints whose conversion by the official scripts is on record.

A case is the mapping's own example, some of its values changed, in one layout: the script knows the
keys it wants, so a key that is wrong in the mapping is one that the script does not find.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mapengine import api
from mapengine.language.mapping import Layout
from mapengine.language.mapping import Mapping as MappingFile


@dataclass(frozen=True)
class Case:
    """`example` changes the mapping's; `options` are those of the `Job`, `script` of the script.

    `aside` are config fields in which the script is not followed, each with the reason.
    """

    mapping: str
    name: str
    script: Mapping[str, Any]
    example: Mapping[str, Any] = field(default_factory=dict)
    layout: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)

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


CASES = {
    str(case): case
    for case in [
        # The script takes hidden_size for heads * head_dim.
        Case("mistral", "window", {"vocab": 128, "v3": True},
             {"hidden": 96, "window": 4096, "theta": 1e4}),
        Case("mistral", "no_window", {"vocab": 128, "v3": True}, {"hidden": 96}),
        Case("mistral", "mha", {"vocab": 112, "v3": True},
             {"hidden": 96, "kv_heads": 6, "vocab": 112}),
        Case("llama", "1_one_file", {"vocab": 96, "version": "1", "shards": 1},
             {"ranks": 1, "kv_heads": 4}, "flat"),
        Case("llama", "2_eight_files", {"vocab": 192, "version": "2", "shards": 8},
             {"ranks": 8, "hidden": 128, "heads": 16, "kv_heads": 8, "vocab": 192, "said": -1,
              "multiple": 64, "factor": 1.3, "context": 4096}, "flat"),
        Case("llama", "code_two_files", {"vocab": 96, "version": "2", "shards": 2},
             {"theta": 1000000, "context": 16384}, "nested"),
        Case("llama", "3_two_files", {"vocab": 96, "version": "3", "shards": 2},
             {"theta": 500000.0, "context": 8192, "bos": 128000, "eos": 128001, "table_dim": 0},
             "flat"),
        Case("llama", "3_chat", {"vocab": 96, "version": "3", "shards": 2, "instruct": True},
             {"theta": 500000.0, "context": 8192, "bos": 128000, "eos": [128001, 128008, 128009],
              "table_dim": 0, "chat": True}, "flat"),
        Case("llama", "31", {"vocab": 96, "version": "3.1", "shards": 2},
             {"theta": 500000.0, "context": 131072, "bos": 128000, "eos": 128001, "table_dim": 0,
              "scaled": True}, "flat", aside={"rope_scaling": "the script knows no scaled rope"}),
    ]
}  # fmt: skip
