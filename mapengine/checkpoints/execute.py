"""Run a plan: make every shard in a staging folder, then publish the whole by one rename."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mapengine import __version__
from mapengine.checkpoints import storage
from mapengine.checkpoints.shards import Progress, write_shards
from mapengine.errors import OutputError, Problem
from mapengine.executors import default_workers
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT

RECEIPT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has published. Sizes are in bytes."""

    output: str
    files: dict[str, int]
    tensors: int
    bytes_read: int
    bytes_written: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_plan(
    plan: Plan,
    source: Path,
    output: Path,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Writes the checkpoint a plan describes. Until it is whole, `output` is what it was before.

    `memory` is what it may allocate, in bytes. With `sync`, all is on the disk before it is
    published. `progress` is called with the bytes of tensors done since the last call.

    Raises `OutputError` before anything is written where the output cannot be, and after that for a
    disk that fails; `PlanError` where a value does not survive an op.
    """
    try:
        beside = sum((source / name).stat().st_size for name in plan.companions)
        storage.check_output(output, source, overwrite, plan.bytes_written + beside)
        with storage.staging(output, overwrite, sync) as folder:
            write_shards(
                plan, source, folder,
                workers=workers or default_workers(sync), memory=memory, sync=sync,
                progress=progress,
            )  # fmt: skip
            _write_companions(plan, source, folder)
            _write_json_files(plan, folder)
            written = {shard.name for shard in plan.shards}
            for path in folder.iterdir():
                if sync and path.name not in written:
                    storage.sync_file(path)
            files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    except OSError as error:
        place = error.filename2 or error.filename or output
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{place}: {reason}; {output} is as it was"
        raise OutputError(Problem("ME614", message)) from error
    tensors = sum(len(shard.tensors) for shard in plan.shards)
    return Result(str(output), files, tensors, plan.bytes_read, plan.bytes_written)


def _write_companions(plan: Plan, source: Path, folder: Path) -> None:
    for name in plan.companions:
        with storage.open_file(source / name) as file, (folder / name).open("xb") as copy:
            shutil.copyfileobj(file, copy)


def _write_json_files(plan: Plan, folder: Path) -> None:
    if plan.index:
        _write_json(folder / plan.index, _index(plan))
    for name, config in plan.configs.items():
        _write_json(folder / name, config)
    _write_json(folder / RECEIPT, _receipt(plan, folder))


def _write_json(path: Path, value: Any) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _index(plan: Plan) -> dict[str, Any]:
    """As transformers writes it."""
    return {
        "metadata": {
            "total_parameters": sum(tensor.spec.numel for tensor in plan.tensors),
            "total_size": plan.bytes_written,
        },
        "weight_map": {t.key: shard.name for shard in plan.shards for t in shard.tensors},
    }


def _receipt(plan: Plan, folder: Path) -> dict[str, Any]:
    """What was written, from what, by which mapping. The same inputs give the same receipt."""
    return {
        "format_version": RECEIPT_VERSION,
        "mapengine": __version__,
        **_made_by(plan),
        "after": _made_by(plan.after) if plan.after else None,
        "source": {"files": plan.source_files},
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
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
