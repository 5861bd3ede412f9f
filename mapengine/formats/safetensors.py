"""safetensors: a length, a JSON header, and the tensors one after another without a gap."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mapengine.formats.json_bounds import MOST_PARTS, has_too_many_parts
from mapengine.formats.refusal import (
    FormatError,
    read_exactly,
    refusals_about,
    refuse_pointer,
    shown,
    size_of,
)
from mapengine.formats.shapes import checked_shape, is_count
from mapengine.formats.skeleton import new_file, reserve
from mapengine.specs import (
    BY_CODE,
    DTYPES,
    FileContents,
    StoredTensor,
    TensorLocation,
    TensorSpec,
    contiguous_strides,
    shared_spec,
)

MAX_HEADER = 100_000_000  # the format's own limit
_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_UNSUPPORTED = {"F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
_RANK = {code: rank for rank, code in enumerate(BY_CODE)}


class Safetensors:
    """Files of the safetensors library."""

    name = "safetensors"

    def describe(self, file: BinaryIO, name: str, ignored: Sequence[str] = ()) -> FileContents:
        with refusals_about(name):
            size = size_of(file)
            header, start = _read_header(file, size)
            metadata = _checked_metadata(header.pop(_METADATA, {}))
            tensors = {key: _stored(key, entry, start, name) for key, entry in header.items()}
            _check_cover(header, size - start)
            return FileContents(size, tensors, metadata=metadata)

    def create(
        self,
        path: Path,
        tensors: Mapping[str, TensorSpec],
        metadata: Mapping[str, str],
        objects: Mapping[str, Any],
    ) -> dict[str, int]:
        with refusals_about(path.name):
            if objects:
                raise FormatError("ME507", "safetensors holds tensors alone")
            ordered = _in_file_order(tensors)
            header = _header(ordered, metadata)
        ends = _ends(ordered, start=len(header))
        with new_file(path) as file:
            file.write(header)
            reserve(file, max(ends.values(), default=len(header)))
        return {key: end - tensors[key].nbytes for key, end in ends.items()}

    def finish(self, path: Path, tensors: Mapping[str, TensorSpec]) -> None:
        """Nothing: the format has no checksums."""

    def check(self, file: BinaryIO, name: str) -> None:
        """Nothing, for the same reason."""


def looks_like_safetensors(head: bytes) -> bool:
    return len(head) > 8 and _LENGTH.unpack_from(head)[0] <= MAX_HEADER and head[8:9] == b"{"


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header's JSON object and where the data starts."""
    refuse_pointer(read_exactly(file, 0, min(size, 32)))
    (length,) = _LENGTH.unpack(read_exactly(file, 0, _LENGTH.size))
    if length > MAX_HEADER:
        raise FormatError("ME501", f"not a safetensors file: a header of {length} bytes")
    if length > size - _LENGTH.size:
        raise FormatError("ME502", f"truncated: a header of {length} bytes in a file of {size}")
    text = read_exactly(file, _LENGTH.size, length)
    if not text.startswith(b"{"):
        raise FormatError("ME501", "not a safetensors file: its header does not begin with '{'")
    return _parsed(text), _LENGTH.size + length


def _parsed(text: bytes) -> dict[str, Any]:
    if has_too_many_parts(text):
        raise FormatError(
            "ME503", f"the header has more than {MOST_PARTS:,} parts, and no model needs so many"
        )
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError("ME503", f"the header is not valid JSON ({error})") from None
    assert isinstance(header, dict)  # it begins with '{'
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise FormatError("ME503", f"the header has {shown(twice)} twice")
    return unique


def _checked_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("ME503", "the header's __metadata__ does not map strings to strings")
    for text in (*metadata, *metadata.values()):
        _refuse_surrogates(text)
    return metadata


def _stored(key: str, entry: object, start: int, name: str) -> StoredTensor:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise FormatError("ME503", f"tensor {shown(key)}: not just dtype, shape and data_offsets")
    _refuse_surrogates(key)
    spec = shared_spec(_dtype(key, entry["dtype"]), checked_shape(entry["shape"], key))
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise FormatError("ME503", f"tensor {shown(key)}: its data_offsets are not two counts")
    if offsets[1] - offsets[0] != spec.nbytes:
        raise FormatError(
            "ME503",
            f"tensor {shown(key)}: {spec} takes {spec.nbytes} bytes, its data_offsets span "
            f"{offsets[1] - offsets[0]}",
        )
    location = TensorLocation(name, start + offsets[0], contiguous_strides(spec.shape))
    return StoredTensor(spec, location)


def _dtype(key: str, code: object) -> str:
    if not isinstance(code, str):
        raise FormatError("ME503", f"tensor {shown(key)}: its dtype is not a string")
    if code in _UNSUPPORTED:
        raise FormatError("ME506", f"tensor {shown(key)}: dtype {code} is not supported")
    if code not in BY_CODE:
        raise FormatError("ME503", f"tensor {shown(key)}: no known dtype: {shown(code)}")
    return BY_CODE[code].name


def _check_cover(header: Mapping[str, Any], length: int) -> None:
    """Every byte of the data belongs to one tensor: the format allows no hole and no overlap."""
    position = 0
    for begin, end, key in sorted((*entry["data_offsets"], key) for key, entry in header.items()):
        if begin != position:
            what = "overlaps the one before" if begin < position else "leaves a hole before it"
            raise FormatError(
                "ME503", f"tensor {shown(key)} at {begin} {what}, which ends {position}"
            )
        position = end
    if position > length:
        raise FormatError("ME502", f"truncated: tensors take {position} bytes, {length} are there")
    if position < length:
        raise FormatError(
            "ME503", f"{length - position} bytes after the last tensor belong to none"
        )


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FormatError("ME503", f"the string {shown(text)} is not valid text") from None


def _in_file_order(tensors: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """As the library orders them: by dtype, widest first, then by name."""
    for key, spec in tensors.items():
        _refuse_surrogates(key)
        if key == _METADATA or spec.dtype not in DTYPES:
            raise FormatError(
                "ME507", f"safetensors cannot hold {shown(key)} of dtype {spec.dtype}"
            )
    ranked = {key: -_RANK[DTYPES[spec.dtype].code] for key, spec in tensors.items()}
    return {key: tensors[key] for key in sorted(tensors, key=lambda key: (ranked[key], key))}


def _ends(tensors: Mapping[str, TensorSpec], start: int) -> dict[str, int]:
    ends, position = {}, start
    for key, spec in tensors.items():
        position = ends[key] = position + spec.nbytes
    return ends


def _header(tensors: Mapping[str, TensorSpec], metadata: Mapping[str, str]) -> bytes:
    """Length and JSON, byte for byte as the library writes them.

    The library shuffles `metadata`; here it is sorted, so that equal input makes equal files.
    """
    entries: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for key, end in _ends(tensors, start=0).items():
        spec = tensors[key]
        entries[key] = {
            "dtype": DTYPES[spec.dtype].code,
            "shape": spec.shape,
            "data_offsets": [end - spec.nbytes, end],
        }
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    if len(text) > MAX_HEADER:
        raise FormatError(
            "ME507", f"its header would take {len(text)} bytes, the limit: {MAX_HEADER}"
        )
    return _LENGTH.pack(len(text)) + text
