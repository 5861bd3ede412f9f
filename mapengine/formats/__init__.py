"""What the bytes of a tensor file mean. A new format is one file and one entry in `FORMATS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

from mapengine.formats.safetensors import Safetensors, looks_like_safetensors
from mapengine.formats.torch import Torch, looks_like_torch
from mapengine.specs import SUFFIXES, FileContents, TensorSpec


class Format(Protocol):
    """Reads a tensor file's headers, and writes such a file around data that comes later."""

    name: str

    def describe(self, file: BinaryIO, name: str, ignored: Sequence[str] = ()) -> FileContents:
        """What `file` holds, from its headers alone. Objects of `ignored` classes are passed over.

        Raises `CheckpointError`, its message beginning with `name`, for a file that lies, ends
        early or wants what is not allowed, and no other error but the `OSError` of reading.
        """

    def create(
        self,
        path: Path,
        tensors: Mapping[str, TensorSpec],
        metadata: Mapping[str, str],
        objects: Mapping[str, Any],
    ) -> dict[str, int]:
        """Writes a new file, whole but for its data, and returns where each tensor's data goes.

        `objects` are plain values to stand beside the tensors, nested as in `FileContents`.
        The file has its final size, its space is reserved, and its bytes depend on the arguments
        alone. Data goes row-major at the returned byte offsets. A path that exists is refused;
        an `OSError`, of a full disk say, may leave a part of the file behind.
        """

    def finish(self, path: Path, tensors: Mapping[str, TensorSpec]) -> None:
        """Completes a created file once all data has been written."""

    def check(self, file: BinaryIO, name: str) -> None:
        """Holds a file's data to the checksums that it states, if it states any.

        Raises `CheckpointError`, its message beginning with `name`.
        """


FORMATS: dict[str, Format] = {"safetensors": Safetensors(), "torch": Torch()}

_RECOGNISERS = {"safetensors": looks_like_safetensors, "torch": looks_like_torch}


def recognise(name: str, head: bytes) -> Format | None:
    """The format of the file that begins with `head` (16 bytes will do), whatever it is called.

    Where the content tells nothing the suffix decides, so that `describe` can say what is wrong.
    """
    for format_name, looks_like in _RECOGNISERS.items():
        if looks_like(head):
            return FORMATS[format_name]
    suffix = SUFFIXES.get(PurePath(name).suffix)
    return FORMATS[suffix] if suffix else None
