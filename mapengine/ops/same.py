"""`same` and `copy`: tensors that are equal as one, and one as equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mapengine.errors import OpError
from mapengine.ops.op import Fan, Op, argument, one, same_shapes
from mapengine.ops.shown import Shown
from mapengine.ops.split import LIST
from mapengine.ops.tensor import Tensor, agree


@dataclass(frozen=True)
class Same(Op):
    """Take tensors for one, after checking that they are equal bit for bit."""

    shapes: ClassVar[str] = "that of each, which must be one"
    over: Fan = argument(
        "fan", "The index whose members must be equal; without it, the rule's list of sources.",
        "rank", LIST,
    )  # fmt: skip

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        same_shapes(tensors)
        agreed = agree(tensors)
        if agreed is None:
            raise OpError("the tensors are not equal bit for bit")
        return [agreed]

    def inverse(self) -> Copy:
        return Copy(self.over)

    @property
    def uses(self) -> Fan:
        return self.over

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("rank", 1)), [(3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "embed.weight, head.weight -> embed.weight",
            "same",
            {"embed.weight": [[1, 2], [3, 4]], "head.weight": [[1, 2], [3, 4]]},
            {"embed.weight": [[1, 2], [3, 4]]},
        )


@dataclass(frozen=True)
class Copy(Op):
    """Write one tensor several times."""

    repeats: ClassVar[bool] = True
    into: Fan = argument(
        "fan", "The index whose members are the copies; without it, the rule's list of targets.",
        "rank", LIST,
    )  # fmt: skip

    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [one(tensors)] * self.into.size

    def inverse(self) -> Same:
        return Same(self.into)

    @property
    def makes(self) -> Fan:
        return self.into

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        yield cls(Fan("rank", 3)), [(3, 4)]

    @classmethod
    def shown(cls) -> Iterable[Shown]:
        yield Shown(
            "norm.weight -> norm.{rank}.weight",
            "copy: {into: rank}",
            {"norm.weight": [1, 2]},
            {"norm.0.weight": [1, 2], "norm.1.weight": [1, 2]},
            dims={"rank": 2},
        )
