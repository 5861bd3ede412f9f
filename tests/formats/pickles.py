"""Pickles and archives put together by hand, to say what no pickler and no torch.save would."""

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping

ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
REBUILD_V3 = b"ctorch._utils\n_rebuild_tensor_v3\n"

LEGACY_HEAD = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001))
SYSTEM_INFO = pickle.dumps({"little_endian": True}, 2)


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def dict_of(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(kind="FloatStorage", key=b"", device="cpu", count=4) -> bytes:
    parts = [text("storage"), name("torch", kind), key or text("0"), text(device), number(count)]
    return tuple_of(*parts) + b"Q"


def tensor(shape=(4,), strides=(1,), offset=0, stored=b"", extra=b"") -> bytes:
    hooks = ORDERED_DICT + b")R"
    shape, strides = (tuple_of(*map(number, counts)) for counts in (shape, strides))
    return call(REBUILD, stored or storage(), number(offset), shape, strides, b"\x89", hooks, extra)


def archive(
    state: bytes,
    storages: Mapping[str, bytes] = {"0": bytes(16)},
    root: str = "archive",
    members: tuple[tuple[str, bytes], ...] = (),
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """A zip archive as torch.save lays it out; `members` are added as they are."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as made:
        warnings.simplefilter("ignore", UserWarning)  # two members with one name
        made.writestr(f"{root}/data.pkl", state)
        for key, data in storages.items():
            made.writestr(f"{root}/data/{key}", data)
        for member, data in members:
            made.writestr(member, data)
    return file.getvalue()


def holding(value: bytes) -> bytes:
    """An archive whose state dict is `{"x": value}`."""
    return archive(pickled(dict_of(x=value)))
