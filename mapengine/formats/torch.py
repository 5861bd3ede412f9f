"""Files of torch.save, read by description: nothing in them is run, no tensor is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mapengine.formats import torch_legacy, torch_zip
from mapengine.formats.refusal import FormatError, refusals_about, refuse_pointer
from mapengine.formats.torch_archive import describe_archive
from mapengine.formats.torch_legacy import describe_stream
from mapengine.formats.torch_writer import check_checksums, create_archive, write_checksums
from mapengine.specs import FileContents, TensorSpec

_HEAD = 512  # bytes that tell the kinds of torch file, and others, apart
_TAR_MAGIC = slice(257, 262)


class Torch:
    """Files of torch.save, those from before 1.6 included."""

    name = "torch"

    def describe(self, file: BinaryIO, name: str, ignored: Sequence[str] = ()) -> FileContents:
        with refusals_about(name):
            file.seek(0)
            head = file.read(_HEAD)
            if head.startswith(torch_zip.MAGIC):
                return describe_archive(file, name, ignored)
            if head.startswith(torch_legacy.MAGIC):
                return describe_stream(file, name, ignored)
            refuse_pointer(head)
            raise _not_torch(head)

    def create(
        self,
        path: Path,
        tensors: Mapping[str, TensorSpec],
        metadata: Mapping[str, str],
        objects: Mapping[str, Any],
    ) -> dict[str, int]:
        """See `Format`. A `/` in a key opens a dict; `metadata` has no place in these files."""
        with refusals_about(path.name):
            return create_archive(path, tensors, objects)

    def finish(self, path: Path, tensors: Mapping[str, TensorSpec]) -> None:
        with refusals_about(path.name):
            write_checksums(path)

    def check(self, file: BinaryIO, name: str) -> None:
        """See `Format`. The old kind of stream has none, and torch writes none if told so."""
        with refusals_about(name):
            file.seek(0)
            if file.read(len(torch_zip.MAGIC)) == torch_zip.MAGIC:
                check_checksums(file)


def looks_like_torch(head: bytes) -> bool:
    return head.startswith((torch_zip.MAGIC, torch_legacy.MAGIC))


def _not_torch(head: bytes) -> FormatError:
    resave = "load it with the torch that wrote it, and save its state dict again"
    if any(magic.startswith(head) for magic in (torch_zip.MAGIC, torch_legacy.MAGIC)):
        return FormatError("ME502", f"truncated: {len(head)} bytes")
    if head[_TAR_MAGIC] == b"ustar":
        return FormatError("ME501", "a tar archive, as torch wrote before 0.1.10", resave)
    if head.startswith(b"\x80"):
        return FormatError("ME501", "a bare pickle, which torch.save never writes", resave)
    return FormatError("ME501", "not a file that torch.save wrote")
