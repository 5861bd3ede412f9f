"""Zip archives and streams made to be read in two ways, or to lead outside; none may."""

import pickle
import struct
import zipfile

import pytest
import torch

from mapengine.errors import CheckpointError
from mapengine.formats import FORMATS

from .files import described, read_back, refusal, same
from .pickles import (
    LEGACY_HEAD,
    SYSTEM_INFO,
    archive,
    call,
    dict_of,
    name,
    number,
    pickled,
    tensor,
    text,
    tuple_of,
)

ATTACK = call(name("os", "system"), text("touch hostile-code-ran"))
GOOD = archive(pickled(dict_of(x=tensor())))
PLAIN = pickled(dict_of(x=tensor()))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Whatever a payload would leave behind is left here, and looked for afterwards."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.glob("hostile*"))


def patched(data: bytes, at: int, form: str, value: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(form, copy, at, value)
    return bytes(copy)


def record(data: bytes, index: int) -> int:
    """Where the archive's directory describes its `index`th member."""
    at = data.index(b"PK\x01\x02")
    for _ in range(index):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


def both_patched(data: bytes, index: int, local: int, central: int, value: int) -> bytes:
    """The same 16-bit field changed in a member's own header and in the directory."""
    at = record(data, index)
    (header,) = struct.unpack_from("<I", data, at + 42)
    return patched(patched(data, at + central, "<H", value), header + local, "<H", value)


def central_sizes_patched(data: bytes, index: int, size: int) -> bytes:
    at = record(data, index)
    return patched(patched(data, at + 20, "<I", size), at + 24, "<I", size)


DIRECTORY = record(GOOD, 0)
END = len(GOOD) - 22

ARCHIVES = {
    "deflate bomb": archive(PLAIN, {"0": bytes(2**26)}, method=zipfile.ZIP_DEFLATED),
    "data.pkl twice": archive(PLAIN, members=(("archive/data.pkl", pickled(ATTACK)),)),
    "storage twice": archive(PLAIN, members=(("archive/data/0", b"x" * 16),)),
    "two roots": archive(PLAIN, members=(("other/data.pkl", pickled(ATTACK)),)),
    "member that climbs": archive(PLAIN, members=(("archive/../../hostile", b""),)),
    "absolute member": archive(PLAIN, members=(("/archive/x", b""),)),
    "member with a backslash": archive(PLAIN, members=(("archive/..\\x", b""),)),
    "member with a control sign": archive(PLAIN, members=(("archive/\x1b[31m", b""),)),
    "folder": archive(PLAIN, members=(("archive/data/", b""),)),
    "TorchScript": archive(PLAIN, members=(("archive/constants.pkl", pickled(b")")),)),
    "TorchScript code": archive(PLAIN, members=(("archive/code/x.py", b"import os"),)),
    "big-endian": archive(PLAIN, members=(("archive/byteorder", b"big"),)),
    "byte order unknown": archive(PLAIN, members=(("archive/byteorder", b"middle"),)),
    "no pickle": archive(PLAIN).replace(b"data.pkl", b"data.pkx"),
    "no root": archive(PLAIN).replace(b"archive/data.pkl", b"archive_data.pkl"),
    "empty archive": GOOD[END:].replace(GOOD[END + 8 : END + 20], bytes(12)),
    "encrypted": both_patched(GOOD, 1, 6, 8, 1),
    "strong encryption": both_patched(GOOD, 1, 6, 8, 0x40),
    "masked headers": both_patched(GOOD, 1, 6, 8, 0x2000),
    "descriptor that is not there": both_patched(GOOD, 1, 6, 8, 8),
    "method in the directory alone": patched(GOOD, DIRECTORY + 10, "<H", 8),
    "method in the header alone": patched(GOOD, 8, "<H", 8),
    "other name in the header": GOOD.replace(b"archive/data/0", b"archive/data/1", 1),
    "other size in the header": patched(GOOD, 22, "<I", 1),
    "other checksum in the header": patched(GOOD, 14, "<I", 1),
    "packed size differs": patched(GOOD, DIRECTORY + 20, "<I", 1),
    "size past the end": central_sizes_patched(GOOD, 1, 2**31),
    "zip64 size without its field": patched(GOOD, record(GOOD, 1) + 24, "<I", 2**32 - 1),
    "overlapping members": patched(GOOD, record(GOOD, 1) + 42, "<I", 0),
    "header within a member": patched(GOOD, record(GOOD, 1) + 42, "<I", 40),
    "header past the end": patched(GOOD, record(GOOD, 1) + 42, "<I", 2**31),
    "on another disk": patched(GOOD, DIRECTORY + 34, "<H", 1),
    "65,534 members": patched(patched(GOOD, END + 8, "<H", 65534), END + 10, "<H", 65534),
    "fewer members": patched(patched(GOOD, END + 8, "<H", 1), END + 10, "<H", 1),
    "directory elsewhere": patched(GOOD, END + 16, "<I", DIRECTORY - 1),
    "directory past the end": patched(GOOD, END + 16, "<I", 2**31),
    "directory of 2 GiB": patched(GOOD, END + 12, "<I", 2**31),
    "several disks": patched(GOOD, END + 4, "<H", 1),
    "comment": patched(GOOD, END + 20, "<H", 4) + b"PK\x05\x06",
    "bytes before": b"#!/bin/sh\n" + GOOD,
    "archive before": GOOD + GOOD,
    "bytes within": GOOD[:DIRECTORY] + b"hidden" + GOOD[DIRECTORY:],
    "pickle with a changed byte": GOOD.replace(b"FloatStorage", b"HalfStorageX"),
    "bytes behind the pickle": archive(PLAIN + b"N."),
}  # fmt: skip


def with_zip64_end(data: bytes, count: int, length: int, start: int) -> bytes:
    closing = data[END : END + 8] + b"\xff" * 12 + data[END + 20 :]  # "see the other record"
    end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, END, 1)
    return data[:END] + end + locator + closing


ZIP64 = {
    "2^31 members": (2**31, END - DIRECTORY, DIRECTORY),
    "directory of 2^62 bytes": (2, 2**62, DIRECTORY),
    "directory at 2^63": (2, END - DIRECTORY, 2**63),
    "directory before its place": (2, END - DIRECTORY + 1, DIRECTORY - 1),
}


def test_the_archive_these_are_made_from_is_read():
    assert list(described(GOOD).tensors) == ["x"]
    assert list(described(with_zip64_end(GOOD, 2, END - DIRECTORY, DIRECTORY)).tensors) == ["x"]


@pytest.mark.parametrize("data", ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_that_torch_would_not_make_is_refused(data):
    refusal(data)


@pytest.mark.parametrize("claims", ZIP64.values(), ids=ZIP64)
def test_a_zip64_record_that_lies_is_refused(claims):
    assert refusal(with_zip64_end(GOOD, *claims)).startswith("ME505")


def test_a_pickle_of_a_gigabyte_is_refused_unread(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as made, made.open("archive/data.pkl", "w") as member:
        member.write(b"\x80\x02N")
    data = bytearray(path.read_bytes())
    with path.open("r+b") as file:  # the same archive with a hole of a gigabyte in its member
        at = record(bytes(data), 0)
        for place in (18, 22, at + 20, at + 24):
            struct.pack_into("<I", data, place, 2**30)
        struct.pack_into("<I", data, len(data) - 6, at - 3 + 2**30)
        file.write(data[: at - 3])
        file.seek(at - 3 + 2**30)
        file.write(data[at:])
    with path.open("rb") as file, pytest.raises(CheckpointError, match=r"data\.pkl is larger"):
        FORMATS["torch"].describe(file, "x.pt")


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"

OTHERS = {
    "empty": (b"", "ME502"),
    "start of a zip": (b"PK", "ME502"),
    "end of an empty zip": (b"PK\x05\x06" + bytes(18), "ME501"),
    "Git LFS pointer": (LFS_POINTER, "ME501"),
    "text": (b"weights", "ME501"),
    "bare pickle": (pickled(ATTACK), "ME501"),
    "bare pickle, protocol 4": (pickle.dumps({"a": 1}, 4), "ME501"),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(1000), "ME501"),
    "numpy archive": (b"\x93NUMPY", "ME501"),
    "other protocol": (LEGACY_HEAD[:-3] + b"K\x01." + SYSTEM_INFO, "ME501"),
    "big-endian stream": (LEGACY_HEAD + pickle.dumps({"little_endian": False}, 2), "ME503"),
    "stream without its system": (LEGACY_HEAD + pickled(b"N"), "ME503"),
}


@pytest.mark.parametrize("data, code", OTHERS.values(), ids=OTHERS)
def test_what_is_no_torch_file_is_refused(data, code):
    assert refusal(data).startswith(code)


STREAM = LEGACY_HEAD + SYSTEM_INFO
STORED = tuple_of(
    text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(4), b"N"
) + b"Q"  # fmt: skip
STREAM_STATE = pickled(dict_of(x=tensor(stored=STORED)))
KEYS = pickled(b"](" + text("0") + b"e")

STREAMS = {
    "keys missing": STREAM + STREAM_STATE + pickled(b"]"),
    "keys not a list": STREAM + STREAM_STATE + pickled(b"N"),
    "keys not texts": STREAM + STREAM_STATE + pickled(b"](" + number(0) + b"e"),
    "other key": STREAM + STREAM_STATE + pickled(b"](" + text("1") + b"e"),
    "key twice": STREAM + STREAM_STATE + pickled(b"](" + text("0") * 2 + b"e") + bytes(99),
    "length missing": STREAM + STREAM_STATE + KEYS,
    "other length": STREAM + STREAM_STATE + KEYS + struct.pack("<q", 5) + bytes(20),
    "negative length": STREAM + STREAM_STATE + KEYS + struct.pack("<q", -4) + bytes(16),
    "storage view": STREAM + STREAM_STATE.replace(STORED, STORED[:-3] + b")tQ"),
}


def test_the_stream_these_are_made_from_is_read():
    data = STREAM + STREAM_STATE + KEYS + struct.pack("<q", 4) + bytes(16)
    assert same(read_back(data, described(data).tensors["x"]), torch.zeros(4))


@pytest.mark.parametrize("data", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_lies_about_its_storages_is_refused(data):
    refusal(data)
