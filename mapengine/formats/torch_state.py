"""From what a torch file's pickle held to tensors and plain values, every claim checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mapengine.formats.refusal import FormatError, shown
from mapengine.formats.shapes import checked_counts, checked_shape, is_count
from mapengine.formats.torch_values import DTypeName, Namespace, PickledTensor, Storage
from mapengine.specs import DTYPES, StoredTensor, TensorLocation, TensorSpec, Unread, shared_spec

_MAX_DEPTH = 64
_MAX_VALUES = 500_000  # tensors, dicts and plain values
_MAX_TENSORS = 150_000  # the steps of one pickle make fewer that are not one tensor many times
_MAX_TEXT = 2**25  # characters of joined keys and of strings; a large checkpoint has 10 million
_DIGITS = 20  # of a number in a key, at the most
_PLAIN = (str, int, float, bool, type(None), Unread)

Extents = Mapping[str, tuple[int, int]]
"""Where the bytes of each storage lie: offset in the file and length, by storage key."""


class State:
    """The tensors (nested keys joined with `/`) and the plain values of one file."""

    def __init__(self, pickled: object, extents: Extents, name: str) -> None:
        self.tensors: dict[str, StoredTensor] = {}
        self._extents = extents
        self._name = name
        self._values_left = _MAX_VALUES  # a list that holds one list twice, and so on, is a bomb
        self._text_left = _MAX_TEXT  # so is a long key above many tensors
        fields = _fields(pickled)
        if fields is None:
            raise FormatError("ME506", f"it holds a {_kind(pickled)}, not a dict of tensors")
        self.objects = self._dict(fields, ())

    def _dict(self, fields: Mapping[Any, Any], path: tuple[Any, ...]) -> dict[Any, Any]:
        """The plain values of `fields`; its tensors are added to `tensors` on the way."""
        plain: dict[Any, Any] = {}
        for key, value in fields.items():
            below = (*path, key)
            self._spend(*below)
            if isinstance(value, PickledTensor):
                self._count(len(below))
                self._add(_joined(below), value)
            elif (nested := _fields(value)) is not None:
                self._count(len(below))
                inner = self._dict(nested, below)
                if inner or not nested:
                    plain[key] = inner
            else:
                plain[key] = self._plain(value, below, len(below))
        return plain

    def _plain(self, value: Any, path: tuple[Any, ...], depth: int) -> Any:
        """A copy of `value`, found `depth` levels down within what stands at `path`."""
        self._count(depth)
        if isinstance(value, DTypeName):
            return str(value)
        if type(value) is str:
            self._spend(value)
        if type(value) in _PLAIN:
            return value
        if type(value) in (list, tuple):
            return type(value)([self._plain(item, path, depth + 1) for item in value])
        if (nested := _fields(value)) is not None:
            self._spend(*nested)
            return {key: self._plain(item, path, depth + 1) for key, item in nested.items()}
        where = shown("/".join(map(str, path)))
        raise FormatError("ME506", f"in {where}: a {_kind(value)}; tensors stand in dicts alone")

    def _count(self, depth: int) -> None:
        self._values_left -= 1
        if depth > _MAX_DEPTH or self._values_left < 0:
            raise FormatError("ME503", "its values are nested without end, or too many")

    def _spend(self, *texts: str | int) -> None:
        """Counts the characters of a key's parts, or of strings, before they are joined or kept."""
        self._text_left -= sum(len(text) if type(text) is str else _DIGITS for text in texts)
        if self._text_left < 0:
            raise FormatError("ME503", "its keys and strings are too long in all")

    def _add(self, key: str, tensor: PickledTensor) -> None:
        if key in self.tensors:
            raise FormatError("ME503", f"two tensors have the key {shown(key)}")
        if len(self.tensors) == _MAX_TENSORS:
            raise FormatError("ME503", f"it has more than {_MAX_TENSORS} tensors")
        self.tensors[key] = self._located(key, tensor)

    def _located(self, key: str, tensor: PickledTensor) -> StoredTensor:
        shape = checked_shape(tensor.shape, key)
        strides = checked_counts(tensor.strides, "strides", key)
        if len(strides) != len(shape) or not is_count(tensor.offset):
            raise FormatError("ME503", f"tensor {shown(key)}: malformed strides or offset")
        assert isinstance(tensor.offset, int)  # a count
        spec = shared_spec(tensor.dtype, shape)
        itemsize = DTYPES[spec.dtype].size
        start, length = self._extent(key, tensor.storage)
        _check_inside(key, spec, strides, tensor.offset, elements=length // itemsize)
        location = TensorLocation(self._name, start + tensor.offset * itemsize, strides)
        return StoredTensor(spec, location)

    def _extent(self, key: str, storage: Storage) -> tuple[int, int]:
        if storage.key not in self._extents:
            raise FormatError(
                "ME503", f"tensor {shown(key)}: no storage {storage.key[:40]} in the file"
            )
        start, length = self._extents[storage.key]
        if length != storage.nbytes:
            raise FormatError(
                "ME503",
                f"tensor {shown(key)}: its storage declares {storage.nbytes} bytes, has {length}",
            )
        return start, length


def _check_inside(
    key: str, spec: TensorSpec, strides: tuple[int, ...], offset: int, elements: int
) -> None:
    if offset > elements:
        raise FormatError("ME503", f"tensor {shown(key)} starts past the end of its storage")
    if not spec.numel:
        return
    last = offset + sum((n - 1) * stride for n, stride in zip(spec.shape, strides, strict=True))
    if last >= elements:
        raise FormatError("ME503", f"tensor {shown(key)} reaches past the end of its storage")
    if spec.numel > elements:
        raise FormatError(
            "ME503",
            f"tensor {shown(key)}: {spec} shows each of {elements} stored elements many times",
        )


def _fields(value: object) -> dict[Any, Any] | None:
    """The items of a dict or Namespace; None for anything else."""
    if type(value) is Namespace:
        return value.fields or {}
    return value if type(value) is dict else None


def _joined(path: tuple[Any, ...]) -> str:
    """The key of a tensor: optimizers keep theirs under numbers, which are written as they are."""
    if not all(isinstance(key, str) or is_count(key) for key in path):
        where = shown("/".join("?" if type(key) is int else str(key) for key in path))
        raise FormatError("ME506", f"tensor {where}: a key that is neither a string nor a count")
    return "/".join(map(str, path))


def _kind(value: object) -> str:
    if type(value) is Unread:
        return shown(value.kind)
    names = {PickledTensor: "tensor", Storage: "storage"}
    return names.get(type(value), type(value).__name__)
