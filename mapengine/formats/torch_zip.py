"""The zip archive around a torch state dict, held to what torch.save makes.

Nothing is decompressed and no name is followed: every member lies stored, in one piece, inside the
file, under one root. Two readers can then not disagree on what a member holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mapengine.formats.refusal import FormatError, prefetch, read_exactly, shown, size_of

MAGIC = b"PK\x03\x04"
_MAX_DIRECTORY = 256 * 2**20
_HAS_DESCRIPTOR = 0x0008
_UTF8 = 0x0800
_ENCRYPTED = 0x0001
_FULL = 0xFFFFFFFF  # "see the zip64 field"

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ4x2I4Q")
_RECORD = struct.Struct("<4s4x2H4x3I4H6xI")
_LOCAL = struct.Struct("<4s2x2H4x3I2H")
_BEFORE, _AFTER = 24, 512
"""Bytes before a member's local header, which end the member before, and those of the header."""
_CRC_IN_LOCAL, _CRC_IN_RECORD = 14, 16


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive: where its bytes lie, and every place that states its checksum."""

    name: str
    offset: int
    size: int
    crc: int
    crc_places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A member as the archive's directory states it, at `place`."""

    place: int
    name: str
    flags: int
    crc: int
    size: int
    header: int


def read_members(file: BinaryIO) -> dict[str, Member]:
    """The archive's members by name without the root, or a `FormatError`."""
    start, length, count = _find_directory(file)
    records = sorted(_records(read_exactly(file, start, length), start), key=lambda r: r.header)
    if len(records) != count:
        raise FormatError("ME505", f"its directory lists {len(records)} members, but says {count}")
    prefetch(file, [(record.header - _BEFORE, record.header + _AFTER) for record in records])
    members: dict[str, Member] = {}
    position = 0
    for record in records:
        if not position <= record.header < start or (record.header and not members):
            raise FormatError(
                "ME505", f"member {shown(record.name)} does not follow the one before"
            )
        member, position = _member(file, record, limit=start)
        _add(members, member)
    return _without_root(members)


def _find_directory(file: BinaryIO) -> tuple[int, int, int]:
    """Start, length and count of the directory that ends where the closing records begin."""
    size = size_of(file)
    closing = size - _END.size
    if closing < 0 or (end := read_exactly(file, closing, _END.size))[:4] != b"PK\x05\x06":
        raise FormatError("ME502", "truncated: the zip archive does not end in its closing record")
    _, disk, start_disk, here, count, length, start, comment = _END.unpack(end)
    if disk or start_disk or comment or here != count:
        raise FormatError("ME505", "its zip archive has several parts or a comment")
    if closing >= _LOCATOR.size:
        locator = _LOCATOR.unpack(read_exactly(file, closing - _LOCATOR.size, _LOCATOR.size))
        if locator[0] == b"PK\x06\x07":
            closing, length64, start64, count64 = _end64(file, locator, closing)
            _agree(start, start64, 32)
            _agree(length, length64, 32)
            _agree(count, count64, 16)
            start, length, count = start64, length64, count64
    if start + length != closing or length > _MAX_DIRECTORY:
        raise FormatError("ME505", "its zip directory is not where the closing record says")
    return start, length, count


def _end64(
    file: BinaryIO, locator: tuple[bytes, int, int, int], closing: int
) -> tuple[int, int, int, int]:
    _, disk, place, disks = locator
    if disk or disks != 1 or place != closing - _LOCATOR.size - _END64.size:
        raise FormatError("ME505", "its zip64 closing record is not where it should be")
    end = _END64.unpack(read_exactly(file, place, _END64.size))
    magic, length, disk, start_disk, here, count, directory_length, directory = end
    if magic != b"PK\x06\x06" or length != _END64.size - 12 or disk or start_disk or here != count:
        raise FormatError("ME505", "its zip64 closing record is malformed")
    return place, directory_length, directory, count


def _agree(short: int, long: int, bits: int) -> None:
    if short not in (long, 2**bits - 1):
        raise FormatError("ME505", "its two closing records contradict each other")


def _records(directory: bytes, start: int) -> Iterator[Record]:
    position = 0
    while position < len(directory):
        if len(directory) - position < _RECORD.size:
            raise FormatError("ME505", "its zip directory ends within a record")
        fields = _RECORD.unpack_from(directory, position)
        magic, flags, method, crc, packed, size, n_name, n_extra, n_comment, disk, header = fields
        name_at = position + _RECORD.size
        end = name_at + n_name + n_extra + n_comment
        if magic != b"PK\x01\x02" or disk or n_comment or end > len(directory):
            raise FormatError("ME505", "its zip directory has a malformed record")
        name = _checked_name(directory[name_at : name_at + n_name])
        extra = directory[name_at + n_name : end]
        size, packed, header = _widened([size, packed, header], extra, name)
        _check_stored(name, flags, method, packed, size)
        yield Record(start + position, name, flags, crc, size, header)
        position = end


def _check_stored(name: str, flags: int, method: int, packed: int, size: int) -> None:
    if flags & _ENCRYPTED:
        raise FormatError("ME505", f"member {shown(name)} is encrypted")
    if method:
        raise FormatError("ME505", f"member {shown(name)} is compressed; torch.save only stores")
    if packed != size or flags & ~(_HAS_DESCRIPTOR | _UTF8):
        raise FormatError("ME505", f"member {shown(name)} is not plainly stored")


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise FormatError("ME505", "a member's name is not UTF-8") from None
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise FormatError("ME505", f"a member's name leads elsewhere: {shown(name)}")
    return name


def _widened(fields: list[int], extra: bytes, name: str) -> list[int]:
    """`fields` with those that are full replaced by their zip64 values, in order."""
    if _FULL not in fields:
        return fields
    values = _zip64(extra)
    full = fields.count(_FULL)
    if len(values) < 8 * full:
        raise FormatError("ME505", f"member {shown(name)} lacks its zip64 sizes")
    wide = iter(struct.unpack_from(f"<{full}Q", values))
    return [next(wide) if field == _FULL else field for field in fields]


def _zip64(extra: bytes) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


def _member(file: BinaryIO, record: Record, limit: int) -> tuple[Member, int]:
    """The member, and the end of everything that belongs to it."""
    raw = record.name.encode()
    local = read_exactly(file, record.header, _LOCAL.size + len(raw))
    magic, flags, method, crc, packed, size, n_name, n_extra = _LOCAL.unpack_from(local)
    same = (magic, flags, method, n_name) == (MAGIC, record.flags, 0, len(raw))
    if not same or local[_LOCAL.size :] != raw:
        raise _contradiction(record)
    extra_at = record.header + len(local)
    offset = extra_at + n_extra
    end, crc_place = offset + record.size, record.header + _CRC_IN_LOCAL
    if end > limit:
        raise FormatError("ME502", f"member {shown(record.name)} does not end before the directory")
    if flags & _HAS_DESCRIPTOR:
        if crc not in (0, record.crc) or {packed, size} - {0, _FULL, record.size}:
            raise _contradiction(record)
        crc_place, end = _descriptor(file, record, end)
    else:
        extra = read_exactly(file, extra_at, n_extra)
        if crc != record.crc or _widened([size, packed], extra, record.name) != [record.size] * 2:
            raise _contradiction(record)
    if end > limit:
        raise _contradiction(record)
    places = (crc_place, record.place + _CRC_IN_RECORD)
    return Member(record.name, offset, record.size, record.crc, places), end


def _descriptor(file: BinaryIO, record: Record, place: int) -> tuple[int, int]:
    """Where the record after a member's data states its checksum, and where it ends."""
    found = read_exactly(file, place, 24)
    for form in ("<4sIII", "<4sIQQ"):  # the second where the member is far or long
        if struct.unpack_from(form, found) == (b"PK\x07\x08", record.crc, record.size, record.size):
            return place + 4, place + struct.calcsize(form)
    raise _contradiction(record)


def _contradiction(record: Record) -> FormatError:
    return FormatError(
        "ME505", f"member {shown(record.name)} and the directory contradict each other"
    )


def _add(members: dict[str, Member], member: Member) -> None:
    if member.name in members:
        raise FormatError("ME505", f"two members are named {shown(member.name)}")
    members[member.name] = member


def _without_root(members: dict[str, Member]) -> dict[str, Member]:
    roots = {name.partition("/")[0] for name in members}
    if len(roots) > 1 and any(name.endswith("/data.pkl") for name in members):
        raise FormatError("ME505", f"{len(roots)} archives in one file")
    return {name.partition("/")[2]: member for name, member in members.items()}
