"""Small files made as their libraries make them, and what their descriptions point at."""

import io
import random
from collections.abc import Iterator, Sequence

import pytest
import torch

from mapengine.errors import CheckpointError
from mapengine.formats import FORMATS
from mapengine.specs import FileContents, StoredTensor


def saved(state: object, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def described(
    data: bytes, format_name: str = "torch", name: str = "x.pt", ignored: Sequence[str] = ()
) -> FileContents:
    return FORMATS[format_name].describe(io.BytesIO(data), name, ignored)


def refusal(data: bytes, format_name: str = "torch") -> str:
    """Code and message with which the file is refused."""
    with pytest.raises(CheckpointError) as caught:
        described(data, format_name)
    (problem,) = caught.value.problems
    assert problem.message.startswith("x.pt: ")
    assert problem.message.isprintable() and len(problem.message) < 500
    return str(problem)


def read_back(data: bytes, stored: StoredTensor) -> torch.Tensor:
    """The tensor made of nothing but the bytes its description points at."""
    dtype = getattr(torch, stored.spec.dtype)
    if not stored.spec.numel:
        return torch.empty(stored.spec.shape, dtype=dtype)
    here = bytearray(data[stored.location.offset :])
    here = here[: len(here) // dtype.itemsize * dtype.itemsize]
    flat = torch.frombuffer(here, dtype=dtype)
    return flat.as_strided(stored.spec.shape, stored.location.strides).clone()


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal in dtype, shape and every bit."""
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    flat = [t.contiguous().reshape(-1).view(torch.uint8) for t in (left.detach(), right.detach())]
    return torch.equal(*flat)


def flipped(data: bytes, times: int, seed: int, upto: int | None = None) -> Iterator[bytes]:
    """Copies of `data`, each with one to four bytes changed among the first `upto`."""
    chance = random.Random(seed)
    for _ in range(times):
        copy = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            copy[chance.randrange(upto or len(data))] ^= chance.randrange(1, 256)
        yield bytes(copy)


def survives(data: bytes, format_name: str = "torch") -> bool:
    """Whether the file is read; raises whatever is not a `CheckpointError`."""
    try:
        contents = described(data, format_name)
    except CheckpointError:
        return False
    for stored in contents.tensors.values():
        read_back(data, stored)
    return True
