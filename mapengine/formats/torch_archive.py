"""The zip archive torch.save has written since 1.6: a pickle, and a member for each storage."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from mapengine.formats.refusal import FormatError, read_exactly, size_of
from mapengine.formats.torch_pickle import MAX_BYTES, Machine
from mapengine.formats.torch_state import State
from mapengine.formats.torch_zip import Member, read_members
from mapengine.specs import FileContents

_STORAGES = "data/"
_NO_CHECKSUMS = "written without checksums"


def describe_archive(file: BinaryIO, name: str, ignored: Sequence[str] = ()) -> FileContents:
    members = read_members(file)
    _check_kind(members)
    checked = any(member.crc for member in members.values())
    if _small(file, members.get("byteorder"), checked) not in (None, b"little"):
        raise FormatError("ME503", "written by a big-endian machine")
    state = State(_pickled(file, members["data.pkl"], checked, ignored), _extents(members), name)
    notes = () if checked else (_NO_CHECKSUMS,)
    return FileContents(size_of(file), state.tensors, state.objects, notes=notes)


def _check_kind(members: dict[str, Member]) -> None:
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        raise FormatError(
            "ME501", "a TorchScript program, not a state dict", "save model.state_dict() instead"
        )
    if "data.pkl" not in members:
        raise FormatError(
            "ME501", "a zip archive that torch.save did not write: it has no data.pkl"
        )


def _pickled(file: BinaryIO, member: Member, checked: bool, ignored: Sequence[str]) -> object:
    pickle = io.BytesIO(_small(file, member, checked) or b"")
    value = Machine(pickle, ignored).run()
    if pickle.read(1):
        raise FormatError("ME503", "its pickle ends before its member does")
    return value


def _small(file: BinaryIO, member: Member | None, checked: bool) -> bytes | None:
    """The bytes of a member that is no storage, their checksum proven where there is one."""
    if member is None:
        return None
    if member.size > MAX_BYTES:
        raise FormatError("ME504", f"its {member.name} is larger than {MAX_BYTES} bytes")
    found = read_exactly(file, member.offset, member.size)
    if checked and zlib.crc32(found) != member.crc:
        raise FormatError("ME503", f"its {member.name} does not have its declared checksum")
    return found


def _extents(members: dict[str, Member]) -> dict[str, tuple[int, int]]:
    return {
        name.removeprefix(_STORAGES): (member.offset, member.size)
        for name, member in members.items()
        if name.startswith(_STORAGES)
    }
