"""What a report of a bug should say of the machine and of what is installed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mapengine import __version__
from mapengine.report.units import size_text

_PACKAGES = (
    "torch", "numpy", "transformers", "safetensors", "huggingface_hub", "accelerate", "einops",
    "xxhash", "click", "jsonschema", "PyYAML", "rich", "jinja2", "fsspec", "s3fs", "gcsfs",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions, platform and room; nothing that names a person, a path or a secret."""
    import yaml

    return {
        "format_version": "1.0",
        "mapengine": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "libyaml": bool(yaml.__with_libyaml__),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_disk": shutil.disk_usage(Path.cwd()).free,
        "encoding": sys.stdout.encoding,
        "variables": sorted(name for name in os.environ if name.startswith("MAPENGINE_")),
    }


def environment_text(told: dict[str, Any]) -> str:
    """A line for each, to be pasted into an issue."""
    packages = [(name, number or "not installed") for name, number in told["packages"].items()]
    rows = [
        ("mapengine", told["mapengine"]),
        ("python", f"{told['python']} ({told['implementation']})"),
        ("platform", told["platform"]),
        *packages,
        ("libyaml", "yes" if told["libyaml"] else "no"),
        ("cores", str(told["cores"])),
        ("memory", size_text(told["memory"])),
        ("free disk", f"{size_text(told['free_disk'])} here"),
        ("encoding", told["encoding"]),
        ("variables", ", ".join(told["variables"]) or "none"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
