"""Whether an output is there already that a run would only make again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapengine.checkpoints.folder import read_json
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import MapengineError
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT


def finished(
    output: Path, source: SourceFolder, plan: Plan, identity: Mapping[str, str]
) -> dict[str, int] | None:
    """The files of an output of this very run, and their sizes; None where it is not one.

    It is one if its receipt says so, its files have the sizes that the receipt says, and no file of
    the source has changed since.
    """
    if output.is_symlink() or not (output / RECEIPT).is_file():
        return None
    try:
        receipt = read_json(output / RECEIPT)
    except MapengineError:
        return None
    files = receipt.get("files") if isinstance(receipt, dict) else None
    if not isinstance(files, dict) or receipt.get("run") != identity:
        return None
    written = (output / RECEIPT).stat()
    found = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    if any(found.get(name) != size for name, size in files.items()):
        return None
    changed = [source.changed(name) for name in (*plan.source_files, *plan.companions)]
    done = all(at is not None and at < written.st_mtime_ns for at in changed)
    return found if done else None
