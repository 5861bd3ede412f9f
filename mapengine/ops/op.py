"""What every op is: a frozen value, its arguments its fields, that knows its own way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from mapengine.errors import OpError
from mapengine.ops.shown import Shown
from mapengine.ops.tensor import Tensor


class Exactness(StrEnum):
    """What an op does to the information in a tensor."""

    EXACT = "exact"  # bijective, bit for bit
    WIDENING = "widening"  # every value kept in a wider type
    LOSSY = "lossy"  # values are rounded
    ONE_WAY = "one-way"  # there is no way back


@dataclass(frozen=True, slots=True)
class Fan:
    """The family of tensors an op makes or uses up: its index name and its size.

    Without a name it is the list of keys that stands in the rule itself.
    """

    index: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Axes:
    """A `rearrange` pattern with the sizes of those of its axes that have one."""

    pattern: str
    sizes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Op(ABC):
    """A tensor transform. `apply` runs on real tensors and on `views` alike, and never guesses."""

    positional: ClassVar[str | None] = None
    """The argument meant when an op is given a bare value or list, as in `transpose: [0, 1]`."""

    repeats: ClassVar[bool] = False
    """Whether an element of a tensor may come to several places of what is made of it."""
    retypes: ClassVar[bool] = False
    """Whether the dtype that is written is another than the dtype that is read."""
    first: ClassVar[str] = ""
    """Why no op may come before it, where that is so."""

    shapes: ClassVar[str] = "stays as it is"
    """What becomes of the shape, for its page."""
    dtypes: ClassVar[str] = "stays as it is"
    """What becomes of the dtype, for its page."""
    exactly: ClassVar[Mapping[Exactness, str]] = {Exactness.EXACT: "always"}
    """Every exactness that it may have, and when, for its page."""

    @abstractmethod
    def apply(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The op on its tensors, in the fan's order. Raises `OpError` where they do not fit."""

    @abstractmethod
    def inverse(self) -> Op:
        """The op that undoes this one. Raises `OpError` for a one-way op."""

    def exactness(self, dtype: str) -> Exactness:
        """What the op does to tensors of `dtype`."""
        return Exactness.EXACT

    @classmethod
    def one_way(cls, arguments: Mapping[str, Any]) -> str | None:
        """What to do about it, where an op of these arguments has no inverse; None if it has."""
        return None

    @property
    def uses(self) -> Fan | None:
        """The fan this op takes together into one tensor, if it does."""
        return None

    @property
    def makes(self) -> Fan | None:
        """The fan this op makes of one tensor, if it does."""
        return None

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterable[tuple[Op, list[tuple[int, ...]]]]:
        """Ops with the shapes of tensors they fit, for the tests."""

    @classmethod
    @abstractmethod
    def shown(cls) -> Iterable[Shown]:
        """The op at work, for its page."""


def argument(kind: str, description: str, example: Any, default: Any = MISSING) -> Any:
    """A field of an op that is written in YAML.

    `kind` says how it is written, read and checked: `integer`, `integers`, `number`, `fan`,
    `axes`, `dtype`, `flag`, or `a|b` for one of some words.
    """
    metadata = {"kind": kind, "description": description, "example": example}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def one(tensors: Sequence[Tensor]) -> Tensor:
    """The only tensor of a list."""
    if len(tensors) != 1:
        raise OpError(f"takes one tensor, not {len(tensors)}")
    return tensors[0]


def axis(dim: int, tensor: Tensor, extra: int = 0) -> int:
    """`dim` counted from the front; negative ones count from the back, as in torch."""
    rank = tensor.ndim + extra
    if not -rank <= dim < rank:
        help = "it has one axis, 0: what turns a weight is not for its bias"
        if rank != 1:
            help = f"its axes are {', '.join(map(str, range(rank)))}" if rank else ""
        raise OpError(f"there is no axis {dim}: the tensor is {list(tensor.shape)}", help=help)
    return dim % rank


def divide(tensor: Tensor, dim: int, parts: int) -> int:
    """The size of each of `parts` equal parts of axis `dim`."""
    size = tensor.shape[dim]
    if parts < 1 or size % parts:
        what = "rows" if dim == 0 else "positions"
        fitting = [n for n in range(1, min(size, 4096) + 1) if size % n == 0]
        listed = ", ".join(map(str, fitting[:12])) + (", ..." if len(fitting) > 12 else "")
        help = f"{listed} divide {size}" if len(fitting) > 1 else ""
        raise OpError(f"axis {dim} has {size} {what}, not divisible into {parts}", help=help)
    return size // parts


def same_shapes(tensors: Sequence[Tensor], but: int | None = None) -> None:
    """Refuses tensors whose dtypes differ, or whose shapes do but for axis `but`."""

    def fixed(tensor: Tensor) -> list[int]:
        return [n for i, n in enumerate(tensor.shape) if i != but]

    first = tensors[0]
    for other in tensors[1:]:
        if other.ndim != first.ndim or fixed(other) != fixed(first):
            raise OpError(f"shapes do not go together: {list(first.shape)} and {list(other.shape)}")
        if other.dtype != first.dtype:
            raise OpError(f"dtypes do not go together: {first.dtype} and {other.dtype}")
