"""The stream torch.save wrote before 1.6: five pickles, then each storage's length and bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO

from mapengine.formats.refusal import FormatError, prefetch, read_exactly, shown, size_of
from mapengine.formats.torch_pickle import Machine
from mapengine.formats.torch_state import State
from mapengine.formats.torch_values import Storage
from mapengine.specs import FileContents

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = struct.Struct("<q")


def describe_stream(file: BinaryIO, name: str, ignored: Sequence[str] = ()) -> FileContents:
    size = size_of(file)
    file.seek(0)
    magic, protocol, system = (Machine(file).run() for _ in range(3))
    if magic != _MAGIC_NUMBER or protocol != _PROTOCOL:
        raise FormatError("ME501", "not written by torch.save: its first numbers are others")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FormatError("ME503", "written by a big-endian machine, or does not say")
    machine = Machine(file, ignored)
    pickled = machine.run()
    keys = Machine(file).run()
    extents = dict(_extents(file, keys, machine.storages, size))
    state = State(pickled, extents, name)
    notes = ("written by torch before 1.6, without checksums",)
    return FileContents(size, state.tensors, state.objects, notes=notes)


def _extents(
    file: BinaryIO, keys: Any, storages: dict[str, Storage], size: int
) -> Iterator[tuple[str, tuple[int, int]]]:
    if not isinstance(keys, list) or sorted(storages) != keys:
        raise FormatError("ME503", "its list of storages is not that of its tensors, in order")
    position = file.tell()
    sizes = [storages[key].nbytes + _COUNT.size for key in keys]
    begins = [*accumulate(sizes, initial=position)][:-1]
    prefetch(file, [(at, at + _COUNT.size) for at in begins])
    for key in keys:
        (count,) = _COUNT.unpack(read_exactly(file, position, _COUNT.size))
        storage, start = storages[key], position + _COUNT.size
        if count * storage.itemsize != storage.nbytes:
            raise FormatError("ME503", f"storage {shown(key)} does not have its declared length")
        position = start + storage.nbytes
        if position > size:
            raise FormatError(
                "ME502", f"truncated: storage {shown(key)} ends at {position} of {size}"
            )
        yield key, (start, storage.nbytes)
    if position != size:
        raise FormatError("ME503", f"{size - position} bytes after the last storage belong to none")
