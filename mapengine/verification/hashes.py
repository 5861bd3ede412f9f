"""Every byte against the SHA-256 that the receipt says, years later if need be. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mapengine.checkpoints.hashing import hashes
from mapengine.errors import Problem
from mapengine.executors import EXECUTORS, default_workers
from mapengine.specs import RECEIPT
from mapengine.verification.subject import Subject

_SHOWN = 20
_HELP = "the disk, or a hand, has changed it: convert it again, or fetch a copy"


def hash_problems(subject: Subject, told: Any) -> list[Problem]:
    """What of a folder is not what the `sha256` of its receipt says, which is read from there."""
    files, tensors = (told.get(w) if isinstance(told, dict) else None for w in ("files", "tensors"))
    if not isinstance(files, dict) or not isinstance(tensors, dict):
        return [Problem("ME711", f"the sha256 of {RECEIPT} lists no files and tensors")]
    names = [name for name in files if name in subject.folder.names]
    found = EXECUTORS["local"](lambda name: _hashed(subject, name), names, default_workers())
    return [
        problem
        for name, one in zip(names, found, strict=True)
        for problem in _differences(name, one, files[name], tensors.get(name))
    ]


def _hashed(subject: Subject, name: str) -> Mapping[str, Any]:
    file = subject.folder.files.get(name)
    ranges = {
        key: (stored.location.offset, stored.spec.nbytes)
        for key, stored in (file.tensors.items() if file else ())
    }
    with subject.source.open(name) as opened:
        return hashes(opened, ranges)


def _differences(name: str, found: Mapping[str, Any], file: Any, tensors: Any) -> Iterator[Problem]:
    """The tensors of a file that are others, or the file where it is none of them.

    Receipts of version 1.0 do not say which file a tensor is in; then it is the file.
    """
    if found["file"] == file:
        return
    told = tensors if isinstance(tensors, dict) else found["tensors"]
    other = [key for key, digest in found["tensors"].items() if told.get(key) != digest]
    for key in other[:_SHOWN]:
        yield Problem("ME714", f"{key} in {name} is not what was written", help=_HELP)
    if len(other) > _SHOWN:
        yield Problem("ME714", f"{len(other) - _SHOWN:,} more tensors in {name} are not")
    if not other:
        yield Problem("ME714", f"{name} is not what was written", help=_HELP)
