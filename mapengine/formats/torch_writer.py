"""Torch files written around their data: torch itself makes the archive, the data comes later."""

from __future__ import annotations

import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mapengine.formats.refusal import FormatError, shown
from mapengine.formats.skeleton import new_file, reserve
from mapengine.formats.torch_archive import describe_archive
from mapengine.formats.torch_zip import Member, read_members
from mapengine.specs import DTYPES, TensorSpec

_CHUNK = 2**20


def create_archive(
    path: Path, tensors: Mapping[str, TensorSpec], objects: Mapping[str, Any]
) -> dict[str, int]:
    """A state dict of these tensors without their data; the offset of each one's first byte.

    Beside them stand the `objects`, which are values that JSON knows: `weights_only` loads them.
    """
    import torch
    from torch.serialization import skip_data

    state = _nested(tensors, json.loads(json.dumps(objects)))
    with new_file(path) as file:
        with skip_data():
            # A file object, not a path: the archive's root is then the same for every file name.
            torch.save(state, file)
        reserve(file, file.seek(0, os.SEEK_END))
        stored = describe_archive(file, path.name).tensors
    return {key: stored[key].location.offset for key in tensors}


def write_checksums(path: Path) -> None:
    """Gives every member the CRC32 of the bytes that now stand in it."""
    with path.open("r+b") as file:
        for member in read_members(file).values():
            crc = _crc32(file, member)
            for place in member.crc_places:
                file.seek(place)
                file.write(crc.to_bytes(4, "little"))


def check_checksums(file: BinaryIO) -> None:
    """Raises `FormatError` for a member whose bytes are not those its CRC32 was made of.

    Where all are 0, none was made; among others that are not, 0 is one like any.
    """
    members = read_members(file).values()
    if not any(member.crc for member in members):
        return
    for member in members:
        if _crc32(file, member) != member.crc:
            raise FormatError("ME517", f"the bytes of member {shown(member.name)} are damaged")


def _crc32(file: BinaryIO, member: Member) -> int:
    file.seek(member.offset)
    buffer = memoryview(bytearray(min(_CHUNK, member.size)))  # one, for fresh pages are slow
    crc, left = 0, member.size
    while left:
        count = file.readinto(buffer[:left])  # type: ignore[attr-defined]
        if not count:
            raise FormatError("ME502", f"truncated within member {shown(member.name)}")
        crc, left = zlib.crc32(buffer[:count], crc), left - count
    return crc


def _nested(tensors: Mapping[str, TensorSpec], objects: dict[str, Any]) -> OrderedDict[str, Any]:
    """The state dict, its plain values first; a `/` in a key opens a dict, as it is read."""
    state: OrderedDict[str, Any] = OrderedDict(objects)
    for key, spec in tensors.items():
        *parents, last = key.split("/")
        inner: Any = state
        for parent in parents:
            inner = inner.setdefault(parent, OrderedDict())
            if not isinstance(inner, dict):
                what = "a value's" if _is_plain(inner) else "another tensor's"
                raise FormatError("ME507", f"tensor {shown(key)} lies within {what} key")
        if last in inner:
            what = "a value" if _is_plain(inner[last]) else "a dict of tensors"
            raise FormatError("ME507", f"tensor {shown(key)} has the key of {what}")
        inner[last] = _unfilled(key, spec)
    return state


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | list)


def _unfilled(key: str, spec: TensorSpec) -> Any:
    """A tensor whose memory is never touched, so that no page of it comes to exist."""
    import torch

    if spec.dtype not in DTYPES:
        raise FormatError("ME507", f"tensor {shown(key)}: torch files cannot hold {spec.dtype}")
    return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype))
