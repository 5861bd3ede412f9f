"""All of an output but its shards: companions, index, configs, card, and the receipt, last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any

from mapengine import __version__
from mapengine.checkpoints import storage
from mapengine.checkpoints.card import card_text
from mapengine.checkpoints.config_text import config_text
from mapengine.checkpoints.hashing import hashes
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.place import Place
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT

RECEIPT_VERSION = "1.1"


def write_beside(
    plan: Plan, source: SourceFolder, place: Place, of_run: AnyMapping[str, str], hash: bool
) -> dict[str, int]:
    """Writes all but the shards, the receipt last; every file of the output and its size."""
    _write_companions(plan, source, place.new)
    _write_configs(plan, place.new)
    sha256 = _sha256(place) if hash else None
    _write_config(place.new / RECEIPT, _receipt(plan, place, of_run, sha256))
    written = {shard.name for shard in plan.shards}
    for path in place.new.iterdir():
        if place.sync and path.name not in written:
            storage.sync_file(path)
    return _sizes(place)


def _sizes(place: Place) -> dict[str, int]:
    """All files of the output, also those of shards that are elsewhere by now."""
    here = {path.name: path.stat().st_size for path in place.new.iterdir()}
    return dict(sorted({**{n: one.size for n, one in place.made.items()}, **here}.items()))


def _sha256(place: Place) -> dict[str, Any]:
    """What was noted of the shards, and the digests of the files beside them.

    Those of tensors by file too: the files of ranks hold the same keys.
    """
    of_shards = {name: one.sha256 for name, one in place.made.items() if one.sha256}
    others = [path for path in sorted(place.new.iterdir()) if path.name not in of_shards]
    files = {path.name: _file_hash(path) for path in others}
    files |= {name: one["file"] for name, one in of_shards.items()}
    return {"files": files, "tensors": {name: one["tensors"] for name, one in of_shards.items()}}


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
    plan: Plan, place: Place, of_run: AnyMapping[str, str], sha256: AnyMapping[str, Any] | None
) -> dict[str, Any]:
    """What was written, from what, by which mapping. The same inputs give the same receipt."""
    return {
        "format_version": RECEIPT_VERSION,
        "mapengine": __version__,
        **_made_by(plan),
        "after": _made_by(plan.after) if plan.after else None,
        "source": {"files": plan.source_files},
        "files": _sizes(place),
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
            "select": list(plan.options.select),
            "set": dict(settings.values),
        },
    }
