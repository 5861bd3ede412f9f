"""`split` and `concat`: one tensor as several along an axis, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.op import Fan, Op, argument, axis, divide, one, same_shapes
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor, join

LIST = Fan(None, 0)
"""The unnamed list of a rule's own keys; its size is known once it is bound."""


def _check_sizes(sizes: Sequence[int], fan: Fan) -> None:
    if len(sizes) != fan.size:
        raise OpError(f"{len(sizes)} sizes for {fan.size} tensors")
    if any(size < 0 for size in sizes):
        raise OpError(f"sizes cannot be negative: {list(sizes)}")


@dataclass(frozen=True)
class Split(Op):
    """Cut one tensor into consecutive parts along `dim`: equal ones, unless `sizes` says else."""

    shapes: ClassVar[str] = "along `dim` the part's size; the other axes stay"
    into: Fan = argument(
        "fan", "The index whose members the parts become; without it, the rule's list of targets.",
        "expert", LIST,
    )  # fmt: skip
    dim: int = argument("integer", "The axis that is cut.", 0, 0)
    sizes: tuple[int, ...] | None = argument(
        "integers", "The size of each part, in order.", ["q", "kv", "kv"], None
    )

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tensor = one(tensors)
        dim = axis(self.dim, tensor)
        sizes = self.sizes
        if sizes is None:
            sizes = (divide(tensor, dim, self.into.size),) * self.into.size
        _check_sizes(sizes, self.into)
        if sum(sizes) != tensor.shape[dim]:
            raise OpError(
                f"axis {dim} has {tensor.shape[dim]} positions, {list(sizes)} make {sum(sizes)}"
            )
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [tensor.narrow(dim, at, size) for at, size in zip(starts, sizes, strict=True)]

    def inverse(self) -> Concat:
        return Concat(self.into, self.dim, self.sizes)

    @property
    def makes(self) -> Fan:
        return self.into

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("expert", 3)), [(6, 4)]
        yield cls(Fan(None, 3), 1, (2, 1, 1)), [(3, 4)]
        yield cls(Fan("part", 2), -1), [(2, 0)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "experts.weight -> experts.{expert}.weight",
            "split: {into: expert}",
            {"experts.weight": [[1, 2], [3, 4], [5, 6], [7, 8]]},
            {"experts.0.weight": [[1, 2], [3, 4]], "experts.1.weight": [[5, 6], [7, 8]]},
            dims={"expert": 2},
        )
        yield Shown(
            "qkv.bias -> q.bias, k.bias, v.bias",
            "split: {sizes: [heads, kv_heads, kv_heads]}",
            {"qkv.bias": [1, 2, 3, 4, 5, 6, 7]},
            {"q.bias": [1, 2, 3], "k.bias": [4, 5], "v.bias": [6, 7]},
            sizes={"heads": 3, "kv_heads": 2},
        )


@dataclass(frozen=True)
class Concat(Op):
    """Put tensors one after another along `dim`."""

    shapes: ClassVar[str] = "along `dim` the sum of the sizes; the other axes must be equal"
    over: Fan = argument(
        "fan", "The index whose members are joined; without it, the rule's list of sources.",
        "rank", LIST,
    )  # fmt: skip
    dim: int = argument("integer", "The axis along which they follow one another.", 0, 0)
    sizes: tuple[int, ...] | None = argument(
        "integers",
        "The size of each along `dim`, where they are not equal.",
        ["q", "kv", "kv"],
        None,
    )

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        dim = axis(self.dim, tensors[0])
        same_shapes(tensors, but=dim)
        found = tuple(t.shape[dim] for t in tensors)
        if self.sizes is None and len(set(found)) > 1:
            raise OpError(
                f"sizes along axis {dim} differ: {list(found)}",
                help="name them with `sizes`, so that there is a way back",
            )
        if self.sizes is not None:
            _check_sizes(self.sizes, self.over)
            if self.sizes != found:
                raise OpError(f"sizes along axis {dim} are {list(found)}, not {list(self.sizes)}")
        return [join(tensors, dim)]

    def inverse(self) -> Split:
        return Split(self.over, self.dim, self.sizes)

    @property
    def uses(self) -> Fan:
        return self.over

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("rank", 2)), [(3, 4), (3, 4)]
        yield cls(Fan("rank", 3), 1), [(2, 2), (2, 2), (2, 2)]
        yield cls(Fan(None, 2), 0, (3, 1)), [(3, 2), (1, 2)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "gate.weight, up.weight -> gate_up.weight",
            "concat",
            {"gate.weight": [[1, 2]], "up.weight": [[3, 4]]},
            {"gate_up.weight": [[1, 2], [3, 4]]},
        )
        yield Shown(
            "out.{rank}.weight -> out.weight",
            "concat: {over: rank, dim: 1}",
            {"out.0.weight": [[1], [2]], "out.1.weight": [[3], [4]]},
            {"out.weight": [[1, 3], [2, 4]]},
            dims={"rank": 2},
        )
