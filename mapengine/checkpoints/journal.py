"""What a run has done so far, a line a shard, so that the next one can go on from there.

A line is a JSON object behind its own checksum. A line that was not written whole, or is not what
was written, does not count, nor does any after it: what it speaks of is made again.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    `synced` is whether it was on the disk before this was noted.
    """

    name: str
    size: int
    mtime_ns: int
    digests: Sequence[Sequence[int]] = ()
    sha256: Mapping[str, Any] | None = None
    synced: bool = False


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
        values = _values(lines)
        head = next(values, None)
        if not isinstance(head, dict) or head.get("version") != _VERSION:
            return None
        identity = head.get("identity")
        finished = {one.name: one for one in itertools.takewhile(_is_sound, map(_finished, values))}
        return Told(identity, finished) if isinstance(identity, dict) else None


def _values(lines: Iterable[bytes]) -> Iterator[Any]:
    """What stands in the lines, up to the first that is not what was written."""
    for line in lines:
        digest, _, text = line.partition(b" ")
        if digest != _digest(text):
            return
        try:
            yield json.loads(text)
        except (ValueError, RecursionError):
            return


def sound(value: Any) -> Finished | None:
    """The file that a record speaks of; None for one that no run can have written."""
    one = _finished(value) if isinstance(value, dict) else None
    return one if one and _is_sound(one) else None


def _finished(value: Any) -> Finished:
    """The file that a line speaks of; one without a name for a line that no run has written."""
    try:
        return Finished(**value)
    except TypeError:
        return Finished("", 0, 0)


def _is_sound(one: Finished) -> bool:
    """Whether it can be what a run has written: a checksum does not say who did."""
    if not isinstance(one.name, str) or one.name in ("", ".", "..") or {*one.name} & {*"/\0"}:
        return False
    if type(one.size) is not int or type(one.mtime_ns) is not int or type(one.synced) is not bool:
        return False
    if not isinstance(one.digests, list) or not all(_is_range(r, one.size) for r in one.digests):
        return False
    if one.sha256 is None:
        return True
    told = one.sha256.get("tensors") if isinstance(one.sha256, dict) else None
    return isinstance(told, dict) and isinstance(one.sha256.get("file"), str)


def _is_range(told: Any, size: int) -> bool:
    if not isinstance(told, list) or len(told) != 3 or any(type(n) is not int for n in told):
        return False
    start, length = int(told[0]), int(told[1])
    return 0 <= start <= start + length <= size


def _finished_line(finished: Finished) -> bytes:
    return _line(asdict(finished))


def _line(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True).encode()
    return _digest(text) + b" " + text + b"\n"


def _digest(text: bytes) -> bytes:
    return xxhash.xxh3_64_hexdigest(text).encode()
