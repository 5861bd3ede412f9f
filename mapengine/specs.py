"""Tensors without their data: dtype and shape, and where the bytes lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

RECEIPT = "mapengine.json"
"""What a run leaves in its output beside the checkpoint, and `--overwrite` wants to see there."""

CARD = "README.md"
"""The model card, where the Hub looks for it."""


ADAPTER_CONFIG = "adapter_config.json"
INDEX_SUFFIX = ".index.json"
YAML_SUFFIXES = (".yml", ".yaml")
CONFIG_SUFFIXES = (".json", *YAML_SUFFIXES)
"""What the name of a config that can be written ends in."""

SUFFIXES = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
}
"""The format that the suffix of a tensor file promises."""

_LONGEST_NAME = 255  # bytes, on nearly every file system


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder, and leads nowhere else."""
    length = len(name.encode(errors="surrogatepass"))
    return name not in ("", ".", "..") and not set(name) & set("/\\\0") and length <= _LONGEST_NAME


@dataclass(frozen=True, slots=True)
class DType:
    """A tensor element type. `name` is torch's, `code` is safetensors', `size` is in bytes."""

    name: str
    code: str
    size: int
    floating: bool = False


_ALL = (
    DType("bool", "BOOL", 1),
    DType("uint8", "U8", 1),
    DType("int8", "I8", 1),
    DType("float8_e5m2", "F8_E5M2", 1, floating=True),
    DType("float8_e4m3fn", "F8_E4M3", 1, floating=True),
    DType("float8_e8m0fnu", "F8_E8M0", 1),  # an exponent, the scale of other numbers
    DType("int16", "I16", 2),
    DType("uint16", "U16", 2),
    DType("float16", "F16", 2, floating=True),
    DType("bfloat16", "BF16", 2, floating=True),
    DType("int32", "I32", 4),
    DType("uint32", "U32", 4),
    DType("float32", "F32", 4, floating=True),
    DType("complex64", "C64", 8),
    DType("float64", "F64", 8, floating=True),
    DType("int64", "I64", 8),
    DType("uint64", "U64", 8),
)

DTYPES: dict[str, DType] = {dtype.name: dtype for dtype in _ALL}
BY_CODE: dict[str, DType] = {dtype.code: dtype for dtype in _ALL}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a header says of a tensor: `dtype` by torch's name, `shape` in elements."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * DTYPES[self.dtype].size

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class TensorLocation:
    """Where a stored tensor's first element lies, and the step along each axis.

    `offset` is in bytes from the start of `file` (a plain name within its folder); `strides` are
    in elements, one per axis of the shape.
    """

    file: str
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    spec: TensorSpec
    location: TensorLocation


@dataclass(frozen=True, slots=True)
class Unread:
    """What a pickle holds of a class that is passed over: its name is known, nothing of it made."""

    kind: str

    def __str__(self) -> str:
        return f"<{self.kind}, not read>"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class FileContents:
    """What one file of a checkpoint holds, read from its headers alone.

    `tensors` by key, nested dicts joined with `/`; `objects` are the plain values beside the
    tensors, nested as in the file, with `Unread` for all that is passed over; `metadata` is the
    format's own; `notes` are worth telling; `stamp` is the identity of the file that was read, to
    know it again.
    """

    size: int
    tensors: dict[str, StoredTensor]
    objects: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stamp: tuple[int | str, ...] = ()


_SHAPES = 4096
"""How many are kept: the tensors of a model have few shapes, and share what is told of them."""


@lru_cache(maxsize=_SHAPES)
def shared_spec(dtype: str, shape: tuple[int, ...]) -> TensorSpec:
    """One value for all the tensors of a dtype and shape."""
    return TensorSpec(dtype, shape)


@lru_cache(maxsize=_SHAPES)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)
