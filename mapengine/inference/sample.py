"""The tensors of one checkpoint, read when they are asked for and compared in one dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapengine.inference.contents import Checkpoint
from mapengine.inference.files import Address
from mapengine.inference.fingerprints import Array
from mapengine.specs import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch

_KEPT = 64 * 2**20
"""Bytes of tensors that are kept, once they are read."""


class Sample:
    """A checkpoint's tensors as bits.

    `ranks` has the parts of each key; `replicated` are keys of which one part is the whole, and
    the others the same again.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._kept: dict[tuple[Address, str], Array] = {}
        self._size = 0
        self._digests: dict[tuple[Address, str], bytes] = {}
        self.addresses = tuple(checkpoint.tensors)
        self.replicated: set[str] = set()
        self.ranks: dict[str, list[Address]] = {}
        for address in self.addresses:
            self.ranks.setdefault(address.key, []).append(address)

    def spec(self, address: Address) -> TensorSpec:
        return self.checkpoint.spec(address)

    def bits(self, address: Address, dtype: str | None = None) -> Array:
        """The bits of a tensor, as they are once it is cast to `dtype`."""
        own = self.spec(address).dtype
        wanted = dtype or own
        if (address, wanted) in self._kept:
            return self._kept[address, wanted]
        bits = self.checkpoint.bits(address)
        if wanted != own:
            bits = recast(bits, own, wanted)
        if self._size + bits.nbytes > _KEPT:
            self._kept.clear()
            self._size = 0
        self._kept[address, wanted] = bits
        self._size += bits.nbytes
        return bits

    def castable(self, address: Address, dtype: str) -> bool:
        """Whether the tensor has that dtype, or is a floating one that can be cast to it."""
        own = self.spec(address).dtype
        return own == dtype or (DTYPES[own].floating and DTYPES[dtype].floating)

    def digest(self, address: Address, dtype: str | None = None) -> bytes:
        """Equal for tensors of one shape that are equal bit for bit in that dtype."""
        import xxhash

        wanted = dtype or self.spec(address).dtype
        if (address, wanted) not in self._digests:
            bits = self.bits(address, wanted)
            head = f"{wanted} {bits.shape} ".encode()
            self._digests[address, wanted] = head + xxhash.xxh3_128_digest(bits.tobytes())
        return self._digests[address, wanted]

    def constant(self, address: Address) -> bool:
        """Whether all elements are the same, so that nothing tells one from another."""
        bits = self.bits(address).reshape(-1)
        return bits.size < 2 or bool((bits == bits[0]).all())


def recast(bits: Array, own: str, wanted: str) -> Array:
    """Bits of one floating dtype as those of another, rounded as torch does it."""
    import torch

    signed = bits.view(bits.dtype.str.replace("u", "i"))
    values: torch.Tensor = torch.from_numpy(signed).view(getattr(torch, own))
    cast = values.to(getattr(torch, wanted)).contiguous()
    size = DTYPES[wanted].size
    whole: Any = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    raw: Array = cast.view(whole).numpy()
    return raw.view(f"<u{size}")


def typed(sample: Sample, address: Address) -> torch.Tensor:
    """A tensor of torch."""
    import torch

    dtype = sample.spec(address).dtype
    bits = sample.bits(address)
    signed = torch.from_numpy(bits.view(bits.dtype.str.replace("u", "i")).copy())
    return signed.view(getattr(torch, dtype))


def stacked(sample: Sample, addresses: Sequence[Address], dtype: str) -> Array:
    """The tensors, all of one shape, one after another along a new first axis."""
    return np.stack([sample.bits(address, dtype) for address in addresses])
