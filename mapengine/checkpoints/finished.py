"""Whether an output is there already that a run would only make again."""

from __future__ import annotations

from collections.abc import Mapping

from mapengine.checkpoints.folder import read_json
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import MapengineError
from mapengine.locations import URL, Location
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT


def finished(
    output: Location, source: SourceFolder, plan: Plan, identity: Mapping[str, str]
) -> dict[str, int] | None:
    """The files of an output of this very run, and their sizes; None where it is not one.

    It is one if its receipt says so, its files have the sizes that the receipt says, and no file of
    the source has changed since.
    """
    there = _there(output)
    if there is None:
        return None
    found, written = there
    try:
        receipt = read_json(output / RECEIPT)
    except MapengineError:
        return None
    files = receipt.get("files") if isinstance(receipt, dict) else None
    if not isinstance(files, dict) or receipt.get("run") != identity:
        return None
    if any(found.get(name) != size for name, size in files.items()):
        return None
    changed = [source.changed(name) for name in (*plan.source_files, *plan.companions)]
    done = all(at is not None and at < written for at in changed)
    return found if done else None


def _there(output: Location) -> tuple[dict[str, int], int] | None:
    """The files of an output and their sizes, and when its receipt was written, if it has one."""
    if isinstance(output, URL):
        from mapengine.checkpoints.remote import connect

        entries = connect(output).entries(fresh=True, may_be_missing=True)
        if RECEIPT not in entries or entries[RECEIPT].changed_ns is None:
            return None
        sizes = {name: entry.size for name, entry in sorted(entries.items())}
        return sizes, entries[RECEIPT].changed_ns or 0
    if output.is_symlink() or not (output / RECEIPT).is_file():
        return None
    sizes = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    return sizes, (output / RECEIPT).stat().st_mtime_ns
