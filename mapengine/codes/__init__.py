"""The catalogue of problem codes: what each means, an example, and the way out.

A code is stable: its meaning does not change, and it is not used again for something else.
"""

from __future__ import annotations

from mapengine.codes.adapters import ADAPTERS
from mapengine.codes.code import BASE, Code, in_base
from mapengine.codes.config import CONFIG
from mapengine.codes.files import FILES
from mapengine.codes.mapping import MAPPING
from mapengine.codes.output import OUTPUT
from mapengine.codes.tensors import TENSORS
from mapengine.codes.text import TEXT
from mapengine.codes.verification import VERIFICATION

_ALL = {
    **TEXT, **MAPPING, **TENSORS, **CONFIG, **ADAPTERS, **FILES, **OUTPUT, **VERIFICATION,
}  # fmt: skip
CODES: dict[str, Code] = dict(sorted(_ALL.items()))

SERIES = {
    "ME1": "The YAML text",
    "ME2": "The mapping",
    "ME3": "Tensors and ops",
    "ME4": "The config",
    "ME5": "Checkpoint files",
    "ME6": "The output",
    "ME7": "Verification",
}

__all__ = ["BASE", "CODES", "SERIES", "Code", "in_base"]
