"""The few names a pickled state dict may use, and what each becomes: a record, never a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mapengine.formats.refusal import FormatError, shown
from mapengine.formats.shapes import is_count
from mapengine.specs import DTYPES, Unread

_BYTES = "_codecs.encode"  # how protocol 2 writes bytes
_MAX_KEY = 40  # of a storage: a number, or where its bytes once stood in memory
_RESAVE = "nothing was run; save the tensors alone, as torch.save(model.state_dict(), path)"
_PASS_OVER = f"{_RESAVE}; or name it under ignore.objects of the mapping, and it is passed over"


@dataclass(frozen=True, slots=True)
class StorageType:
    """`torch.FloatStorage` and its kin. Without a dtype the storage counts bytes."""

    dtype: str | None


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes beside the pickle; `dtype` None counts bytes."""

    key: str
    dtype: str | None
    count: int

    @property
    def itemsize(self) -> int:
        return DTYPES[self.dtype].size if self.dtype else 1

    @property
    def nbytes(self) -> int:
        return self.count * self.itemsize


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor as its pickle states it; nothing but the types has been checked."""

    storage: Storage
    dtype: str
    offset: object
    shape: tuple[object, ...]
    strides: tuple[object, ...]


@dataclass(slots=True)
class Namespace:
    """`argparse.Namespace`, which holds the config in many training checkpoints."""

    fields: dict[Any, Any] | None = None


class NamespaceType:
    """What may be made with NEWOBJ: an empty `Namespace`."""


@dataclass(frozen=True, slots=True)
class Function:
    """What may be called with REDUCE."""

    call: Callable[[tuple[Any, ...]], object]


def named(module: str, name: str, ignored: Sequence[str] = ()) -> object:
    """The meaning of `module.name` in a state dict, or a `FormatError` that names it.

    What is `ignored` by its full name, or by the beginning of it that ends in a dot, is `Unread`.
    No kind of tensor can be, but for numpy's arrays.
    """
    full = f"{module}.{name}"
    if full in _GLOBALS:
        return _GLOBALS[full]
    is_kind = full in _KINDS or (module == "torch" and name in _TORCH_KINDS)
    if is_ignored(full, ignored) and (not is_kind or _KINDS.get(full) == _ARRAYS):
        return Unread(full)
    if is_kind:
        kind = _KINDS.get(full) or f"tensors of type {full}"
        raise FormatError("ME506", f"{kind} are not supported ({full})")
    raise FormatError(
        "ME504", f"its pickle asks for {shown(full)}, not part of a state dict", _PASS_OVER
    )


def is_ignored(full: str, ignored: Sequence[str]) -> bool:
    """Whether a name is passed over. Bytes, which only objects hold, are with any of them."""
    if full == _BYTES:
        return bool(ignored)
    return any(full == one or (one.endswith(".") and full.startswith(one)) for one in ignored)


def storage_named_by(identity: object) -> Storage:
    """The storage a persistent id stands for: ('storage', type, key, device, count[, None])."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise FormatError(
            "ME504", "its pickle refers to something outside that is no storage", _RESAVE
        )
    _, kind, key, device, count = identity[:5]
    if not isinstance(kind, StorageType) or not isinstance(device, str) or not is_count(count):
        raise FormatError("ME503", "its pickle has a malformed storage")
    if is_count(key):
        key = str(key)  # as those write it that save a file tensor by tensor
    if not isinstance(key, str):
        raise FormatError("ME503", "its pickle has a malformed storage")
    # it becomes a member's name
    if len(key) > _MAX_KEY or not (key.isascii() and key.isdecimal()):
        raise FormatError("ME503", f"a storage's key is not a number: {shown(key)}")
    if identity[5:] not in ((), (None,)):
        raise FormatError("ME506", "views of storages, from torch before 0.4, are not supported")
    if device == "meta":
        raise FormatError("ME506", "tensors on the meta device hold no data")
    return Storage(key, kind.dtype, count)


def _rebuild_tensor_v2(arguments: tuple[Any, ...]) -> PickledTensor:
    if len(arguments) not in (6, 7):
        raise _malformed()
    storage, offset, shape, strides, _, hooks = arguments[:6]
    _refuse_metadata(hooks, *arguments[6:])
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise _malformed()
    return _tensor(storage, storage.dtype, offset, shape, strides)


def _rebuild_tensor_v3(arguments: tuple[Any, ...]) -> PickledTensor:
    if len(arguments) not in (7, 8):
        raise _malformed()
    storage, offset, shape, strides, _, hooks, dtype = arguments[:7]
    _refuse_metadata(hooks, *arguments[7:])
    if not isinstance(storage, Storage) or not isinstance(dtype, DTypeName):
        raise _malformed()
    return _tensor(storage, str(dtype), offset, shape, strides)


def _tensor(storage: Storage, dtype: str, offset: Any, shape: Any, strides: Any) -> PickledTensor:
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise _malformed()
    return PickledTensor(storage, dtype, offset, shape, strides)


def _refuse_metadata(hooks: object, metadata: object = None) -> None:
    if hooks:
        raise FormatError("ME506", "tensors with backward hooks are not supported")
    if metadata:
        raise FormatError("ME506", "conjugated or negated views are not supported")


def _rebuild_parameter(arguments: tuple[Any, ...]) -> PickledTensor:
    if len(arguments) != 3 or not isinstance(arguments[0], PickledTensor):
        raise _malformed()
    _refuse_metadata(arguments[2])
    return arguments[0]


def _empty_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise FormatError("ME504", "its pickle makes an OrderedDict from arguments", _RESAVE)
    return {}


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise _malformed()
    return arguments[0]


def _set(arguments: tuple[Any, ...]) -> list[Any]:
    if len(arguments) != 1 or type(arguments[0]) is not list:
        raise _malformed("set")
    return arguments[0]


def _device(arguments: tuple[Any, ...]) -> str:
    kind, *index = arguments or (None,)
    if type(kind) is not str or not all(map(is_count, index)) or len(index) > 1:
        raise _malformed("device")
    return ":".join([kind, *map(str, index)])


def _malformed(kind: str = "tensor") -> FormatError:
    return FormatError("ME503", f"its pickle has a malformed {kind}")


class DTypeName(str):
    """A `torch.dtype`, by its name; among plain values it reads as that name."""

    __slots__ = ()


_STORAGES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}

_GLOBALS: dict[str, object] = {
    "argparse.Namespace": NamespaceType(),
    "__builtin__.set": Function(_set),
    "collections.OrderedDict": Function(_empty_dict),
    "torch.Size": Function(_size),
    "torch.device": Function(_device),
    "torch._utils._rebuild_parameter": Function(_rebuild_parameter),
    "torch._utils._rebuild_tensor_v2": Function(_rebuild_tensor_v2),
    "torch._utils._rebuild_tensor_v3": Function(_rebuild_tensor_v3),
    "torch.UntypedStorage": StorageType(None),
    "torch.storage.UntypedStorage": StorageType(None),
    **{f"torch.{name}": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.{name}": DTypeName(name) for name in DTYPES},
}

_ARRAYS = "numpy arrays"
_KINDS = {
    "numpy._core.multiarray._reconstruct": _ARRAYS,
    "numpy.core.multiarray._reconstruct": _ARRAYS,
    "torch._tensor._rebuild_from_type_v2": "tensor subclasses",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "tensors of this device",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors on the meta device",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_parameter_with_state": "parameters with attributes",
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_wrapper_subclass": "tensor subclasses",
}

_TORCH_KINDS = {
    "ComplexDoubleStorage",
    "QInt32Storage",
    "QInt8Storage",
    "QUInt2x4Storage",
    "QUInt4x2Storage",
    "QUInt8Storage",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "bits8",
    "complex128",
    "complex32",
    "float4_e2m1fn_x2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
}
