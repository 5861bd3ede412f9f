"""Weights of few bits beside their scales: the numbers they stand for, looked up by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mapengine.inference.arrangement import Arrangement
from mapengine.inference.families import Instance, families
from mapengine.inference.files import Address
from mapengine.inference.fingerprints import Array, mixed, whole
from mapengine.inference.sample import Sample, typed
from mapengine.inference.solve import arrange
from mapengine.inference.solving import Solved
from mapengine.inference.steps import Op, steps

_PACKED = 16
"""Bytes of a block of mxfp4."""
_USUAL = (128, 64, 32, 256, 512, 16)


@dataclass(frozen=True, slots=True)
class Quantised:
    """A weight, its scale, and how the one is stored."""

    weight: Address
    scale: Address
    format: str


def dequantised(
    source: Sample, target: Sample, left: Sequence[Address], free: Sequence[Address]
) -> Iterator[Solved]:
    """Targets that are the numbers of a weight and its scale, in whatever order."""
    wanted: dict[tuple[str, int, int], list[Address]] = {}
    for address in left:
        bits = target.bits(address)
        key = target.spec(address).dtype, bits.size, whole(mixed(bits))
        wanted.setdefault(key, []).append(address)
    dtypes = sorted({dtype for dtype, _, _ in wanted} & {"bfloat16", "float16", "float32"})
    pairs = list(_pairs(source, free))
    block = _block(source, [one for one in pairs if one.format == "fp8_e4m3"])
    for one in pairs if dtypes else ():
        for dtype in dtypes:
            bits = _numbers(source, one, block, dtype)
            key = dtype, bits.size, whole(mixed(bits)) if bits.size else 0
            found = _solved(one, bits, target, wanted.get(key, []), block, dtype)
            if found is not None:
                yield found
                break


def _pairs(source: Sample, free: Sequence[Address]) -> Iterator[Quantised]:
    """Keys of one module: one with the bits, and one of a longer or a like name with scales."""
    for weight in free:
        spec = source.spec(weight)
        packed = spec.dtype == "uint8" and spec.shape[-1:] == (_PACKED,)
        if not packed and (spec.dtype != "float8_e4m3fn" or len(spec.shape) < 2):
            continue
        stem = weight.key.removesuffix("_blocks") if packed else weight.key
        for scale in free:
            if scale == weight or scale.rank != weight.rank or not scale.key.startswith(stem):
                continue
            shape = source.spec(scale).shape
            if packed and shape == spec.shape[:-1]:
                yield Quantised(weight, scale, "mxfp4")
            elif not packed and len(shape) == len(spec.shape):
                yield Quantised(weight, scale, "fp8_e4m3")


def _block(source: Sample, pairs: Sequence[Quantised]) -> tuple[int, int]:
    """Rows and columns that share a scale in all weights: a usual number where it fits."""

    def fits(axis: int, size: int) -> bool:
        shapes = ((source.spec(one.weight).shape, source.spec(one.scale).shape) for one in pairs)
        return all(-(-whole[axis] // size) == parts[axis] for whole, parts in shapes)

    most = max((n for one in pairs for n in source.spec(one.weight).shape[-2:]), default=1)
    rows, columns = (
        next((n for n in (*_USUAL, *range(1, most + 1)) if fits(axis, n)), 1) for axis in (-2, -1)
    )
    return rows, columns


def _numbers(source: Sample, one: Quantised, block: tuple[int, int], dtype: str) -> Array:
    """What a weight and its scale stand for, as bits; nothing where they do not fit."""
    import torch

    from mapengine.errors import OpError
    from mapengine.ops.dequantize import Dequantize

    op = Dequantize(one.format, dtype, None if one.format == "mxfp4" else block)
    try:
        (made,) = op.apply([typed(source, one.weight), typed(source, one.scale)])
    except OpError:
        return np.zeros(0, np.uint8)
    assert isinstance(made, torch.Tensor)
    size = made.element_size()
    raw: Array = made.contiguous().view({2: torch.int16, 4: torch.int32}[size]).numpy()
    return raw.view(f"<u{size}")


def _solved(
    one: Quantised, bits: Array, target: Sample, candidates: Sequence[Address],
    block: tuple[int, int], dtype: str,
) -> Solved | None:  # fmt: skip
    for address in candidates:
        found = arrange(bits, target.bits(address))
        ops = steps(found, [], []) if isinstance(found, Arrangement) else None
        ours, scale = families([one.weight]), families([one.scale])
        theirs = families([address])
        if ops is not None and ours and scale and theirs:
            sizes = () if one.format == "mxfp4" else block
            first = Op("dequantize", word=f"{one.format} {dtype}", sizes=sizes)
            return Solved(Instance((*ours, *scale), theirs), (first, *ops))
    return None
