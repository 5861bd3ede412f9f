"""A declarative mapping engine for model checkpoints.

    import mapengine
    mapengine.run(mapengine.Job("mappings/NAME.yaml", "CHECKPOINT"), "CONVERTED")

The names below are loaded when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mapengine.api import Job as Job
    from mapengine.api import load as load
    from mapengine.api import plan as plan
    from mapengine.api import run as run
    from mapengine.api import validate as validate
    from mapengine.checkpoints.inspection import inspect as inspect
    from mapengine.errors import CheckpointError as CheckpointError
    from mapengine.errors import MapengineError as MapengineError
    from mapengine.errors import MappingError as MappingError
    from mapengine.errors import OutputError as OutputError
    from mapengine.errors import PlanError as PlanError
    from mapengine.errors import Problem as Problem
    from mapengine.errors import Where as Where
    from mapengine.language.mapping import Mapping as Mapping
    from mapengine.parts import publish as publish
    from mapengine.parts import run_part as run_part
    from mapengine.planning.plan import Plan as Plan
    from mapengine.shipped import shipped_mappings as shipped_mappings
    from mapengine.verification.checks import verify as verify

_HOMES = {
    "mapengine.api": ("Job", "load", "plan", "run", "validate"),
    "mapengine.errors": (
        "CheckpointError", "MapengineError", "MappingError", "OutputError", "PlanError",
        "Problem", "Where",
    ),
    "mapengine.checkpoints.inspection": ("inspect",),
    "mapengine.language.mapping": ("Mapping",),
    "mapengine.parts": ("publish", "run_part"),
    "mapengine.planning.plan": ("Plan",),
    "mapengine.shipped": ("shipped_mappings",),
    "mapengine.verification.checks": ("verify",),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mapengine' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # over the submodule of the same name, if there is one
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
