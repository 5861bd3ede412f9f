"""Run a plan: make every shard in a folder beside the output, then publish all by one rename."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Container
from collections.abc import Mapping as AnyMapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mapengine import __version__
from mapengine.checkpoints import storage
from mapengine.checkpoints.card import card_text
from mapengine.checkpoints.config_text import config_text
from mapengine.checkpoints.finished import finished
from mapengine.checkpoints.hashing import check_sources, hashes, still_whole
from mapengine.checkpoints.identity import identity, times
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.shards import Done, Progress, write_shards
from mapengine.checkpoints.workspace import Workspace, place_of, workspace
from mapengine.errors import OutputError, Problem
from mapengine.executors import default_workers
from mapengine.locations import Location
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT

RECEIPT_VERSION = "1.0"
_BLOCK, _LISTED = 4096, 256
"""About how many bytes a file takes beside its tensors, and a tensor in a header and an index."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has published. Sizes are in bytes."""

    output: str
    files: dict[str, int]
    tensors: int
    bytes_read: int
    bytes_written: int
    kept: int = 0
    """Shards that an earlier run had made."""
    was_finished: bool = False
    """Whether an earlier run had come to its end, so that nothing was left to do."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_plan(
    plan: Plan,
    source: Location,
    output: Path,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    restart: bool = False,
    hash: bool = False,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Writes the checkpoint a plan describes. Until it is whole, `output` is what it was before.

    What an earlier run of the same plan has written is kept, unless `restart` says otherwise; where
    it has come to its end, nothing is done. `memory` is what it may allocate, in bytes. With
    `sync`, all is on the disk before it is published. With `hash`, the SHA-256 of every tensor and
    file goes into the receipt, and the checksums of the source's files are checked. `progress` is
    told what has been done since the last call.

    Raises `OutputError` before anything is written where the output cannot be, and after that for a
    disk that fails; `PlanError` where a value does not survive an op.
    """
    folder = SourceFolder(source, follow_links)
    of_run = identity(plan, folder, hash)
    try:
        storage.check_output(output, source, overwrite)
        if not (os.path.lexists(output) or os.path.lexists(place_of(output))):
            _check_room(plan, folder, output, ())  # all of it, before anything is written
        with workspace(
            output, {**of_run, **times(plan)}, whole=still_whole, overwrite=overwrite, sync=sync,
            restart=restart,
        ) as place:  # fmt: skip
            # Only now is there no other run that could just be publishing it.
            if files := finished(output, folder, plan, of_run):
                return replace(_result(plan, output, files, len(plan.shards)), was_finished=True)
            if problem := storage.occupied(output, overwrite):
                raise OutputError(problem)
            _check_before(plan, folder, place, hash)
            for shard in plan.shards:
                if progress and shard.name in place.kept:
                    progress(Done(shard, shard.nbytes, len(shard.tensors)))
            write_shards(
                plan, folder, place, workers=workers or default_workers(sync), memory=memory,
                hash=hash, progress=progress,
            )  # fmt: skip
            files = _write_beside(plan, folder, place, of_run, hash)
            place.publish()
            return _result(plan, output, files, len(place.kept))
    except OSError as error:
        is_new = False
        with contextlib.suppress(OSError):  # what can fail after publishing is to sync that
            is_new = finished(output, folder, plan, of_run) is not None
        state = "is the new one" if is_new else "is as it was"
        raise _failed(error, f"{output} {state}") from error


def _result(plan: Plan, output: Path, files: dict[str, int], kept: int) -> Result:
    tensors = sum(len(shard.tensors) for shard in plan.shards)
    return Result(str(output), files, tensors, plan.bytes_read, plan.bytes_written, kept)


def _check_room(plan: Plan, source: SourceFolder, output: Path, kept: Container[str]) -> None:
    """Raises where there is no room for what is left to be written."""
    shards = [shard for shard in plan.shards if shard.name not in kept]
    if shards:
        largest = max(shards, key=lambda shard: shard.nbytes)
        storage.check_file_size(largest.name, largest.nbytes)
    beside = sum(source.size(name) + _BLOCK for name in plan.companions)
    needed = sum(shard.nbytes + _BLOCK + _LISTED * len(shard.tensors) for shard in shards)
    storage.check_space(output.absolute().parent, needed + beside)


def _check_before(plan: Plan, source: SourceFolder, place: Workspace, hash: bool) -> None:
    """Raises where there is no room for what is left, or bytes of the source are damaged."""
    _check_room(plan, source, place.output, place.kept)
    if hash:
        check_sources(source, plan.stored)


def _failed(error: OSError, state: str) -> OutputError:
    place = error.filename2 or error.filename or "the disk"
    reason = os.strerror(error.errno) if error.errno else str(error)
    message = f"{place}: {reason}; {state}"
    return OutputError(Problem("ME614", message, help="; ".join(getattr(error, "__notes__", ()))))


def _write_beside(
    plan: Plan, source: SourceFolder, place: Workspace, of_run: AnyMapping[str, str], hash: bool
) -> dict[str, int]:
    """Writes all but the shards, the receipt last; every file of the output and its size."""
    _write_companions(plan, source, place.new)
    _write_configs(plan, place.new)
    sha256 = _sha256(place) if hash else None
    _write_config(place.new / RECEIPT, _receipt(plan, place.new, of_run, sha256))
    written = {shard.name for shard in plan.shards}
    for path in place.new.iterdir():
        if place.sync and path.name not in written:
            storage.sync_file(path)
    return {path.name: path.stat().st_size for path in sorted(place.new.iterdir())}


def _sha256(place: Workspace) -> dict[str, Any]:
    """What was noted of the shards, and the digests of the files beside them."""
    told = place.journal.read()
    of_shards = {n: one.sha256 for n, one in told.finished.items() if one.sha256} if told else {}
    others = [path for path in sorted(place.new.iterdir()) if path.name not in of_shards]
    files = {path.name: _file_hash(path) for path in others}
    files |= {name: one["file"] for name, one in of_shards.items()}
    tensors = [one["tensors"] for one in of_shards.values()]
    return {"files": files, "tensors": {k: digest for one in tensors for k, digest in one.items()}}


def _file_hash(path: Path) -> str:
    with storage.open_file(path) as file:
        return str(hashes(file, {})["file"])


def _write_companions(plan: Plan, source: SourceFolder, folder: Path) -> None:
    for name in plan.companions:
        with source.open(name) as file, (folder / name).open("xb") as copy:
            shutil.copyfileobj(file, copy)


def _write_configs(plan: Plan, folder: Path) -> None:
    if plan.index:
        _write_config(folder / plan.index, _index(plan))
    for name, config in plan.configs.items():
        _write_config(folder / name, config)
    if plan.card:
        (folder / plan.card).write_text(card_text(plan), encoding="utf-8")


def _write_config(path: Path, value: Any) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(config_text(path.name, value))


def _index(plan: Plan) -> dict[str, Any]:
    """As transformers writes it."""
    return {
        "metadata": {
            "total_parameters": sum(tensor.spec.numel for tensor in plan.tensors),
            "total_size": plan.bytes_written,
        },
        "weight_map": {t.key: shard.name for shard in plan.shards for t in shard.tensors},
    }


def _receipt(
    plan: Plan, folder: Path, of_run: AnyMapping[str, str], sha256: AnyMapping[str, Any] | None
) -> dict[str, Any]:
    """What was written, from what, by which mapping. The same inputs give the same receipt."""
    return {
        "format_version": RECEIPT_VERSION,
        "mapengine": __version__,
        **_made_by(plan),
        "after": _made_by(plan.after) if plan.after else None,
        "source": {"files": plan.source_files},
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "run": dict(of_run),
        "sha256": sha256,
    }


def _made_by(plan: Plan) -> dict[str, Any]:
    """The mapping, in which direction, with what was set by hand."""
    settings = plan.binding.names.settings
    return {
        "mapping": {
            "name": plan.mapping.name,
            "model": plan.binding.write.model,
            "sha256": plan.mapping.sha256,
            "text": plan.mapping.document.text,
        },
        "reads": plan.binding.read.name,
        "layout": sorted(plan.binding.layout),
        "fingerprint": plan.fingerprint,
        "options": {
            "dtype": settings.dtype,
            "format": plan.format,
            "max_shard_size": plan.options.max_shard_size,
            "preset": settings.preset,
            "set": dict(settings.values),
        },
    }
