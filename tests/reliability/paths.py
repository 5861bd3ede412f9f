"""A good source, a folder beside it that is nobody's business, and what was opened of either."""

import os
import sys
from pathlib import Path

from mapengine import api

SHARD = Path("source/model.safetensors")
OPENED: list[str] = []


def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes | Path):
        OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_note)


def job(**options):
    return api.Job("small.yaml", "source", **options)


def outside(paths):
    """Those that lie in the folder of the test, but not in its source, nor where it writes."""
    home = Path.cwd()
    real = {Path(os.path.realpath(path)) for path in paths}
    roots = [home / one for one in ("source", "small.yaml", "out", ".out.mapengine")]
    return {p for p in real if home in p.parents and not any(p.is_relative_to(r) for r in roots)}


def linked(name, target):
    """Puts a link in the place of a file of the source."""
    (SHARD.parent / name).unlink()
    (SHARD.parent / name).symlink_to(target)
