"""`rope_permute` and `rope_unpermute`: the two orders of rotary pairs within a head.

Interleaved, as in RoFormer (arXiv 2104.09864): rows 2i and 2i + 1 of a head turn together.
Half-split, as transformers has it: rows i and i + d/2 do. Row `2i + j` goes to row `j * d/2 + i`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mapengine.errors import OpError
from mapengine.ops.op import Op, argument, divide, one
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor, join


def _permuted(tensor: Tensor, heads: int, rotary_dim: int | None, *, split: bool) -> Tensor:
    if tensor.ndim < 1:
        raise OpError("takes a weight or a bias, not a scalar")
    head_dim = divide(tensor, 0, heads)
    turned = head_dim if rotary_dim is None else rotary_dim
    if turned % 2 or not 0 <= turned <= head_dim:
        raise OpError(f"{turned} rows of a head of {head_dim} cannot be taken in pairs")
    rest = tuple(tensor.shape[1:])
    heads_apart = tensor.reshape((heads, head_dim, *rest))
    pairs = (turned // 2, 2) if split else (2, turned // 2)
    rotary = heads_apart.narrow(1, 0, turned).reshape((heads, *pairs, *rest))
    order = [0, 2, 1, *range(3, rotary.ndim)]
    rotary = rotary.permute(order).reshape((heads, turned, *rest))
    if turned < head_dim:
        rotary = join([rotary, heads_apart.narrow(1, turned, head_dim - turned)], 1)
    return rotary.reshape(tuple(tensor.shape))


@dataclass(frozen=True)
class RopePermute(Op):
    """Rows of each head from interleaved rotary pairs to the half-split order."""

    heads: int = argument(
        "integer", "How many heads this very tensor has: for k, the key-value heads.", "kv_heads"
    )
    rotary_dim: int | None = argument(
        "integer", "How many rows of each head turn, where not all of them do.", 32, None
    )

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [_permuted(one(tensors), self.heads, self.rotary_dim, split=True)]

    def inverse(self) -> RopeUnpermute:
        return RopeUnpermute(self.heads, self.rotary_dim)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(2), [(12, 5)]
        yield cls(3), [(12,)]
        yield cls(2, 4), [(12, 3)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "wk.bias -> k_proj.bias",
            "rope_permute: {heads: kv_heads}",
            {"wk.bias": [11, 12, 21, 22, 31, 32, 41, 42]},
            {"k_proj.bias": [11, 21, 12, 22, 31, 41, 32, 42]},
            sizes={"kv_heads": 2},
        )
        yield Shown(
            "wq.bias -> q_proj.bias",
            "rope_permute: {heads: 1, rotary_dim: 4}",
            {"wq.bias": [11, 12, 21, 22, 5, 6]},
            {"q_proj.bias": [11, 21, 12, 22, 5, 6]},
        )


@dataclass(frozen=True)
class RopeUnpermute(Op):
    """Rows of each head from the half-split order back to interleaved rotary pairs."""

    heads: int = argument(
        "integer", "How many heads this very tensor has: for k, the key-value heads.", "kv_heads"
    )
    rotary_dim: int | None = argument(
        "integer", "How many rows of each head turn, where not all of them do.", 32, None
    )

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [_permuted(one(tensors), self.heads, self.rotary_dim, split=False)]

    def inverse(self) -> RopePermute:
        return RopePermute(self.heads, self.rotary_dim)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(2), [(12, 5)]
        yield cls(2, 4), [(12, 3)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "k_proj.bias -> wk.bias",
            "rope_unpermute: {heads: kv_heads}",
            {"k_proj.bias": [11, 21, 12, 22, 31, 41, 32, 42]},
            {"wk.bias": [11, 12, 21, 22, 31, 32, 41, 42]},
            sizes={"kv_heads": 2},
        )
