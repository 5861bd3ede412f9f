"""What a run has done so far, a line a shard, so that the next one can go on from there.

A line is a JSON object behind its own checksum. A line that was not written whole, or is not what
was written, does not count, nor does any after it: what it speaks of is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

JOURNAL = "journal"
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Finished:
    """A file of the output that is whole, and what tells whether it still is.

    `digests` are the XXH3 of ranges, each with its first byte and length, where their bytes went
    through memory. `sha256` are those of the file and of its tensors, if they were asked for.
    """

    name: str
    size: int
    mtime_ns: int
    digests: Sequence[Sequence[int]] = ()
    sha256: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A journal as it was read: whose it is, and the files it lists."""

    identity: Mapping[str, Any]
    finished: Mapping[str, Finished]


class Journal:
    """The journal of a run that goes on. Safe to append to from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, identity: Mapping[str, Any], kept: Sequence[Finished]) -> None:
        """Starts it anew, with what is kept of the last one; the old one is there until then."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        lines = [_line({"version": _VERSION, "identity": identity}), *map(_finished_line, kept)]
        fresh.write_bytes(b"".join(lines))
        fresh.replace(self._path)

    def record(self, finished: Finished) -> None:
        """Notes a file that is whole. What the file is made of must be safe already."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            line = _finished_line(finished)
            if os.write(descriptor, line) != len(line):  # it does not count, and no later one does
                raise OSError(f"{self._path} could not be written to")
        finally:
            os.close(descriptor)

    def read(self) -> Told | None:
        """What the last run left; None where there is nothing to go by."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        values = []
        for line in lines:
            digest, _, text = line.partition(b" ")
            if digest != _digest(text):
                break
            values.append(json.loads(text))
        if not values or values[0].get("version") != _VERSION:
            return None
        finished = [Finished(**value) for value in values[1:]]
        return Told(values[0]["identity"], {one.name: one for one in finished})


def _finished_line(finished: Finished) -> bytes:
    return _line(asdict(finished))


def _line(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True).encode()
    return _digest(text) + b" " + text + b"\n"


def _digest(text: bytes) -> bytes:
    return xxhash.xxh3_64_hexdigest(text).encode()
