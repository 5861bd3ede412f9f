"""`dequantize`: a weight of few bits and its scale, as the numbers they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mapengine.errors import OpError
from mapengine.ops.op import Exactness, Fan, Op, argument
from mapengine.ops.shown import Shown
from mapengine.ops.split import LIST
from mapengine.ops.tensor import Tensor, combined, cycle, dtype_name, repeat

if TYPE_CHECKING:
    import torch

_FLOATS = ("float32", "bfloat16", "float16", "float8_e8m0fnu")
_BYTES = 16
"""Bytes of an mxfp4 block: 32 weights, two to a byte, the first in its low bits."""
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""What the low three bits of an fp4 number stand for; the fourth is its sign."""


@dataclass(frozen=True)
class Dequantize(Op):
    """Multiply the weights of each block by its scale, in float32, and round once."""

    repeats: ClassVar[bool] = True
    retypes: ClassVar[bool] = True
    first: ClassVar[str] = "only as they are stored is it known which weights share a scale"

    shapes: ClassVar[str] = "the weight's; of mxfp4 the last two axes are one, of 32 to a group"
    dtypes: ClassVar[str] = "`to`"
    exactly: ClassVar[Mapping[Exactness, str]] = {Exactness.ONE_WAY: "always"}
    format: str = argument("fp8_e4m3|mxfp4", "How the weight is stored.", "fp8_e4m3")
    to: str = argument("bfloat16|float16|float32", "The dtype written.", "bfloat16")
    block: tuple[int, ...] | None = argument(
        "integers", "How many rows and columns share a scale; those of mxfp4 are 1 and 32.",
        [128, 128], None,
    )  # fmt: skip
    over: Fan = argument(
        "fan", "The index of weight and scale; without it, the rule's list of sources.",
        "part", LIST,
    )  # fmt: skip

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if len(tensors) != 2:
            raise OpError(f"takes a weight and its scale, not {len(tensors)} tensors")
        weight, scale = tensors
        return [self._mxfp4(weight, scale) if self.format == "mxfp4" else self._fp8(weight, scale)]

    def _fp8(self, weight: Tensor, scale: Tensor) -> Tensor:
        _check_dtypes(weight, ("float8_e4m3fn",), scale, _FLOATS)
        if self.block is None or len(self.block) != 2 or min(self.block) < 1:
            told = "not said" if self.block is None else list(self.block)
            raise OpError(f"the block that shares a scale is {told}", help="block: [rows, columns]")
        if weight.ndim < 2:
            raise OpError(f"a weight of {list(weight.shape)} has no rows and columns")
        *outer, rows, columns = weight.shape
        wanted = [*outer, -(-rows // self.block[0]), -(-columns // self.block[1])]
        _check_shape(scale, weight, wanted, f" in blocks of {list(self.block)}")
        for dim, times in enumerate(self.block, len(outer)):
            scale = repeat(scale, times, dim).narrow(dim, 0, weight.shape[dim])
        return _Scaled(self.to).together(weight, scale)

    def _mxfp4(self, weight: Tensor, scale: Tensor) -> Tensor:
        _check_dtypes(weight, ("uint8",), scale, ("uint8", "float8_e8m0fnu"))
        if self.block is not None:
            raise OpError("the blocks of mxfp4 are its own", help="leave `block` out")
        if weight.ndim < 2 or weight.shape[-1] != _BYTES:
            raise OpError(f"a weight of {list(weight.shape)} has no blocks of {_BYTES} bytes")
        *outer, width = weight.shape
        _check_shape(scale, weight, outer)
        last = len(outer) - 1
        scale = repeat(scale, 2 * width, last)
        weight = repeat(weight, 2, last + 1).reshape(scale.shape)
        return _Scaled(self.to).together(weight, scale, cycle(2, scale))

    def inverse(self) -> Op:
        raise OpError(
            "dequantize is one-way: which scales were taken is not told by the numbers",
            help="keep the quantised checkpoint",
        )

    @classmethod
    def one_way(cls, arguments: Mapping[str, Any]) -> str | None:
        return "keep the quantised checkpoint"

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.ONE_WAY

    @property
    def uses(self) -> Fan:
        return self.over

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls("fp8_e4m3", "bfloat16", (4, 2), Fan(None, 2)), [(6, 5), (2, 3)]
        yield cls("mxfp4", "bfloat16", None, Fan(None, 2)), [(3, 2, 16), (3, 2)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "w.weight, w.weight_scale_inv -> w.weight",
            "dequantize: {format: fp8_e4m3, block: [2, 2], to: bfloat16}",
            {"w.weight": [[1, 2, 3], [4, 5, 6]], "w.weight_scale_inv": [[0.5, 2]]},
            {"w.weight": [[0.5, 1, 6], [2, 2.5, 12]]},
            was={"w.weight": "float8_e4m3fn"},
            becomes={"w.weight": "bfloat16"},
        )
        yield Shown(
            "w_blocks, w_scales -> w",
            "dequantize: {format: mxfp4, to: bfloat16}",
            {
                "w_blocks": [[[0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE] * 2]],
                "w_scales": [[128]],
            },
            {"w": [[0, 1, 2, 3, 4, 6, 8, 12, -0.0, -1, -2, -3, -4, -6, -8, -12] * 2]},
            was={"w_blocks": "uint8", "w_scales": "uint8"},
            becomes={"w": "bfloat16"},
        )


def _check_dtypes(
    weight: Tensor, weights: Sequence[str], scale: Tensor, scales: Sequence[str]
) -> None:
    for what, tensor, known in (("weight", weight, weights), ("scale", scale, scales)):
        if dtype_name(tensor) not in known:
            message = f"the {what} is {dtype_name(tensor)}, not {' or '.join(known)}"
            stated = f"dtype: [{weights[0]}, {scales[0]}]"
            raise OpError(message, help=f"in an example they are as the rule states: {stated}")


def _check_shape(scale: Tensor, weight: Tensor, wanted: list[int], blocks: str = "") -> None:
    if list(scale.shape) != wanted:
        has = f"a weight of {list(weight.shape)}{blocks} has one of {wanted}"
        raise OpError(f"the scale is {list(scale.shape)}, and {has}")


@dataclass(frozen=True)
class _Scaled:
    """Weights times the scales at their places, where a weight may be four bits of a byte."""

    to: str

    def result(self, dtypes: Sequence[str]) -> str:
        return self.to

    def exactness(self, dtype: str) -> Exactness:
        return Exactness.ONE_WAY

    def together(self, *tensors: Tensor) -> Tensor:
        put_off = combined(self, tensors)
        return self.values(cast("Sequence[torch.Tensor]", tensors)) if put_off is None else put_off

    def values(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Raises `OpError` where a number comes to none."""
        import torch

        weight, scale, *half = tensors
        if scale.dtype is torch.uint8:
            scale = scale.view(torch.float8_e8m0fnu)
        if half:
            table = torch.tensor([*_E2M1, *(-value for value in _E2M1)])
            weight = weight >> 4 * half[0] & 15
        else:
            table = torch.arange(256).to(torch.uint8).view(weight.dtype).float()
        which = weight.view(torch.uint8).int().reshape(-1)
        wide = table.index_select(0, which).reshape(weight.shape)  # faster than any cast
        result = (wide * scale.float()).to(getattr(torch, self.to))
        if not bool(result.sum().isfinite()):  # so it is too where all are, but their sum is not
            count = int((wide.isfinite() & ~result.isfinite()).sum())
            if count:
                message = f"{count} of {result.numel()} weights come to no finite {self.to}"
                raise OpError(message, code="ME305")
        return result
