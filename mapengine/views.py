"""Tensors described, not held: what layout ops do to stored tensors, without their data.

A `View` is a stored tensor seen through strides. Each of its axes is a list of (size, stride)
parts, outermost first, so that flattening and cutting axes never forces a copy: a rotary permute,
`split` then `transpose`, any `rearrange`, stays one strided pass over the bytes. The classes here
answer to torch's names (`shape`, `permute`, `reshape`, `narrow`), so an op's `apply` runs on them
when planning and on real tensors in the tests, and there is no second shape inference.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mapengine.axes import Axis, canonical, carve, cuts, merged, plain_axes
from mapengine.specs import StoredTensor, TensorSpec, contiguous_strides, shared_spec

VALUES = ("zeros", "ones", "arange", "tril")
"""What a tensor may be filled with that no file holds: as torch names it."""


class ValueOp(Protocol):
    """An op on each element by itself: what a `Mapped` tensor needs to know of it."""

    def result(self, dtype: str) -> str: ...

    def exactness(self, dtype: str) -> Any: ...

    def undoes(self, other: ValueOp, dtype: str) -> bool: ...


class CombiningOp(Protocol):
    """An op on the elements that stand at one place of several tensors."""

    def result(self, dtypes: Sequence[str]) -> str: ...

    def exactness(self, dtype: str) -> Any: ...


class Lazy(ABC):
    """A tensor that is not there yet. Immutable; every method returns a new one."""

    __slots__ = ()
    shape: tuple[int, ...]
    dtype: str

    @property
    def spec(self) -> TensorSpec:
        return shared_spec(self.dtype, self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @abstractmethod
    def permute(self, dims: Sequence[int]) -> Lazy:
        """The axes in another order, as torch has it."""

    @abstractmethod
    def reshape(self, shape: Sequence[int]) -> Lazy:
        """The same elements in row-major order under another shape of the same size."""

    @abstractmethod
    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        """`length` consecutive positions of axis `dim`, from `start`."""

    @abstractmethod
    def repeated(self, times: int, dim: int) -> Lazy:
        """Every position of axis `dim` so many times in a row, as torch's `repeat_interleave`."""

    @abstractmethod
    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        """What this tensor is made of, one step down."""


Content = StoredTensor | Lazy
"""A tensor of a checkpoint: there in a file, or still to be made."""


@dataclass(frozen=True, slots=True, eq=False)
class View(Lazy):
    """The elements of `source`, from element `offset`, through the strides of `axes`.

    A `source` that is itself `Lazy` is a buffer: its elements must be laid out first.
    """

    source: StoredTensor | Lazy
    dtype: str
    axes: tuple[Axis, ...]
    offset: int
    shape: tuple[int, ...]

    @staticmethod
    def of(source: StoredTensor | Lazy) -> View:
        if isinstance(source, StoredTensor):
            shape, strides = source.spec.shape, source.location.strides
            dtype = source.spec.dtype
        else:
            shape, strides = source.shape, contiguous_strides(source.shape)
            dtype = source.dtype
        return View(source, dtype, plain_axes(shape, strides), 0, shape)

    def _seen(self, axes: tuple[Axis, ...], offset: int, shape: tuple[int, ...]) -> View:
        return View(self.source, self.dtype, axes, offset, shape)

    def permute(self, dims: Sequence[int]) -> View:
        axes = tuple(self.axes[d] for d in dims)
        return self._seen(axes, self.offset, tuple(self.shape[d] for d in dims))

    def reshape(self, shape: Sequence[int]) -> View:
        shape = tuple(shape)
        if math.prod(shape) == 0:
            return self._seen(tuple(((n, 0),) for n in shape), self.offset, shape)
        axes = carve(self.parts, shape)
        return (
            View.of(self).reshape(shape) if axes is None else self._seen(axes, self.offset, shape)
        )

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        before, after = self.shape[:dim], self.shape[dim + 1 :]
        shape = (*before, length, *after)
        if math.prod(shape) == 0:
            return self._seen(tuple(((n, 0),) for n in shape), self.offset, shape)
        parts = [
            self._seen(
                (*self.axes[:dim], axis, *self.axes[dim + 1 :]),
                self.offset + offset,
                (*before, size, *after),
            )
            for axis, offset, size in cuts(self.axes[dim], start, length)
        ]
        return Joined.of(parts, dim)

    def repeated(self, times: int, dim: int) -> Lazy:
        shape = (*self.shape[:dim], self.shape[dim] * times, *self.shape[dim + 1 :])
        if math.prod(shape) == 0:
            return self._seen(tuple(((n, 0),) for n in shape), self.offset, shape)
        axis = canonical((*self.axes[dim], (times, 0)))
        return self._seen((*self.axes[:dim], axis, *self.axes[dim + 1 :]), self.offset, shape)

    def every(self, dim: int, start: int, step: int, length: int) -> Lazy:
        """`length` positions of axis `dim`, `step` apart, from `start`."""
        if step == 1:
            return self.narrow(dim, start, length)
        if len(self.axes[dim]) > 1:
            return View.of(self).every(dim, start, step, length)
        stride = self.axes[dim][0][1] if self.axes[dim] else 0
        return self._seen(
            (*self.axes[:dim], *plain_axes((length,), (step * stride,)), *self.axes[dim + 1 :]),
            self.offset + start * stride,
            (*self.shape[:dim], length, *self.shape[dim + 1 :]),
        )

    @property
    def elements_read(self) -> int:
        """How many elements of its source it sees, each counted once."""
        return math.prod(n for n, stride in self.parts if stride or not n)

    @property
    def parts(self) -> Axis:
        """All parts of all axes, outermost first, neighbours merged: the loop nest of a copy."""
        return merged(self.axes)

    @property
    def is_contiguous(self) -> bool:
        return math.prod(self.shape) == 0 or self.parts in ((), ((math.prod(self.shape), 1),))

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return (self.source,)


@dataclass(frozen=True, slots=True, eq=False)
class Joined(Lazy):
    """Tensors one after another along axis `dim`."""

    members: tuple[Lazy, ...]
    dim: int
    shape: tuple[int, ...]
    dtype: str

    @staticmethod
    def of(members: Sequence[Lazy], dim: int) -> Lazy:
        if len(members) == 1:
            return members[0]
        flat: list[Lazy] = []
        for member in members:
            same = isinstance(member, Joined) and member.dim == dim
            flat += member.inputs() if same else [member]  # type: ignore[arg-type]
        first = members[0].shape
        shape = (*first[:dim], sum(m.shape[dim] for m in members), *first[dim + 1 :])
        return Joined(tuple(flat), dim, shape, members[0].dtype)

    def permute(self, dims: Sequence[int]) -> Lazy:
        return Joined.of([m.permute(dims) for m in self.members], list(dims).index(self.dim))

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        if dim != self.dim:
            return Joined.of([m.narrow(dim, start, length) for m in self.members], self.dim)
        kept, position = [], 0
        for member in self.members:
            size = member.shape[dim]
            first, last = max(start, position), min(start + length, position + size)
            if first < last:
                whole = last - first == size
                kept.append(member if whole else member.narrow(dim, first - position, last - first))
            position += size
        return Joined.of(kept, dim) if kept else self.members[0].narrow(dim, 0, 0)

    def repeated(self, times: int, dim: int) -> Lazy:
        return Joined.of([m.repeated(times, dim) for m in self.members], self.dim)

    def reshape(self, shape: Sequence[int]) -> Lazy:
        shape = tuple(shape)
        if math.prod(shape) == 0:  # nothing says which of its axes the members lie along
            return View.of(self).reshape(shape)
        before = math.prod(self.shape[: self.dim])
        for lead in range(len(shape)):
            inner = math.prod(shape[lead + 1 :])
            if math.prod(shape[:lead]) != before:
                continue
            lengths = [math.prod(m.shape[self.dim :]) for m in self.members]
            if all(length % inner == 0 for length in lengths):
                head, tail = shape[:lead], shape[lead + 1 :]
                members = [
                    m.reshape((*head, length // inner, *tail))
                    for m, length in zip(self.members, lengths, strict=True)
                ]
                return Joined.of(members, lead)
        return View.of(self).reshape(shape)

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return self.members


@dataclass(frozen=True, slots=True, eq=False)
class Mapped(Lazy):
    """A tensor with an elementwise op still to be done. Moving elements about does not touch it."""

    op: ValueOp
    content: Lazy
    shape: tuple[int, ...]
    dtype: str

    @staticmethod
    def of(op: ValueOp, content: Lazy) -> Lazy:
        if isinstance(content, Mapped) and op.undoes(content.op, content.content.dtype):
            return content.content
        return Mapped(op, content, content.shape, op.result(content.dtype))

    def permute(self, dims: Sequence[int]) -> Lazy:
        return Mapped.of(self.op, self.content.permute(dims))

    def reshape(self, shape: Sequence[int]) -> Lazy:
        return Mapped.of(self.op, self.content.reshape(shape))

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        return Mapped.of(self.op, self.content.narrow(dim, start, length))

    def repeated(self, times: int, dim: int) -> Lazy:
        return Mapped.of(self.op, self.content.repeated(times, dim))

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return (self.content,)


@dataclass(frozen=True, slots=True, eq=False)
class Agreed(Lazy):
    """Several tensors that must be equal, bit for bit, and count as one."""

    members: tuple[Lazy, ...]
    shape: tuple[int, ...]
    dtype: str

    @staticmethod
    def of(members: Sequence[Lazy]) -> Lazy:
        first = members[0]
        return first if len(members) == 1 else Agreed(tuple(members), first.shape, first.dtype)

    def permute(self, dims: Sequence[int]) -> Lazy:
        return Agreed.of([m.permute(dims) for m in self.members])

    def reshape(self, shape: Sequence[int]) -> Lazy:
        return Agreed.of([m.reshape(shape) for m in self.members])

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        return Agreed.of([m.narrow(dim, start, length) for m in self.members])

    def repeated(self, times: int, dim: int) -> Lazy:
        return Agreed.of([m.repeated(times, dim) for m in self.members])

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return self.members


@dataclass(frozen=True, slots=True, eq=False)
class Combined(Lazy):
    """One tensor still to be computed from several of its shape, element by element.

    So any part of it takes the same part of each. A tensor that has fewer elements than the others
    joins in once it repeats them: a view may see an element several times.
    """

    op: CombiningOp
    members: tuple[Lazy, ...]
    shape: tuple[int, ...]
    dtype: str

    @staticmethod
    def of(op: CombiningOp, members: Sequence[Lazy]) -> Combined:
        dtype = op.result([member.dtype for member in members])
        return Combined(op, tuple(members), members[0].shape, dtype)

    def permute(self, dims: Sequence[int]) -> Lazy:
        return Combined.of(self.op, [m.permute(dims) for m in self.members])

    def reshape(self, shape: Sequence[int]) -> Lazy:
        return Combined.of(self.op, [m.reshape(shape) for m in self.members])

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        return Combined.of(self.op, [m.narrow(dim, start, length) for m in self.members])

    def repeated(self, times: int, dim: int) -> Lazy:
        return Combined.of(self.op, [m.repeated(times, dim) for m in self.members])

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return self.members


@dataclass(frozen=True, slots=True, eq=False)
class Filled(Lazy):
    """A tensor that no file holds: what an element is follows from its number, row by row.

    `value` is `arange`, which is the number itself, `tril`, ones and zeros by the last two axes,
    or what all are.
    """

    value: str | float
    shape: tuple[int, ...]
    dtype: str

    def permute(self, dims: Sequence[int]) -> View:
        return View.of(self).permute(dims)

    def reshape(self, shape: Sequence[int]) -> View:
        return View.of(self).reshape(shape)

    def narrow(self, dim: int, start: int, length: int) -> Lazy:
        return View.of(self).narrow(dim, start, length)

    def repeated(self, times: int, dim: int) -> Lazy:
        return View.of(self).repeated(times, dim)

    def inputs(self) -> Sequence[Lazy | StoredTensor]:
        return ()
