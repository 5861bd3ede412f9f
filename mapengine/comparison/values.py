"""The values of the tensors that two checkpoints share, piece by piece in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapengine.checkpoints.gather import Reader
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.raw import as_torch
from mapengine.checkpoints.sources import SourceFiles
from mapengine.comparison.headers import Checkpoint
from mapengine.errors import PlanError, Problem
from mapengine.executors.local import run_local
from mapengine.planning.boxes import grid, within
from mapengine.planning.budget import BATCH, SMALLEST, Budget
from mapengine.specs import DTYPES, StoredTensor
from mapengine.views import View

Array = np.ndarray[Any, Any]
_AT_ONCE = 2**16
"""Elements whose values are compared at a time, as doubles."""
_EACH = 128
"""Bytes that comparing one of those may take."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far values may be apart: |one - other| <= atol + rtol * |other|."""

    atol: float = 0.0
    rtol: float = 0.0


@dataclass(frozen=True, slots=True)
class ValueDiff:
    """One tensor: how many of its elements differ, how many by more than is allowed, and how far.

    `largest` and `relative` are the largest differences; `at` is where the largest one is, and
    `values` what stands there. Elements of one value may still have other bits, as 0 and -0.
    """

    key: str
    elements: int
    differing: int
    beyond: int
    largest: float
    relative: float
    at: tuple[int, ...]
    values: tuple[float, float]
    other_bits: bool


def compare_values(
    one: Checkpoint, other: Checkpoint, tolerance: Tolerance, memory: int, workers: int
) -> Iterator[ValueDiff]:
    """What differs in each tensor of one shape on both sides, in the order of the first.

    Raises `PlanError` where `memory` is too little, `CheckpointError` from the disk.
    """
    first, second = one.tensors, other.tensors
    shared = [k for k in first if k in second and first[k].spec.shape == second[k].spec.shape]
    budget, workers = _budget(memory, workers)
    with (
        SourceFiles(SourceFolder(one.folder), one.files) as files,
        SourceFiles(SourceFolder(other.folder), other.files) as more,
    ):
        readers = Reader(files.opened, budget), Reader(more.opened, budget)

        def compared(key: str) -> ValueDiff:
            return _compared(key, (first[key], second[key]), readers, tolerance)

        yield from run_local(compared, shared, workers)


def _budget(memory: int, workers: int) -> tuple[Budget, int]:
    """What each of the two readers of a worker may take, and how many workers there can be."""
    each = 2 * (SMALLEST + BATCH) + _AT_ONCE * _EACH
    if memory < each:
        message = f"{memory:,} bytes of memory are too little to compare values"
        raise PlanError(Problem("ME316", message, help=f"--memory {math.ceil(each / 10**6)}MB"))
    workers = min(workers, memory // each)
    return Budget((memory // workers - _AT_ONCE * _EACH) // 2 - BATCH), workers


def _compared(
    key: str,
    stored: tuple[StoredTensor, StoredTensor],
    readers: tuple[Reader, Reader],
    tolerance: Tolerance,
) -> ValueDiff:
    shape, dtypes = stored[0].spec.shape, [one.spec.dtype for one in stored]
    sizes = [DTYPES[dtype].size for dtype in dtypes]
    views = [View.of(one) for one in stored]
    tally = _Tally(tolerance)
    done = 0
    for box in grid(shape, BATCH // max(sizes)) if stored[0].spec.numel else ():
        parts = [within(view, box) for view in views]
        count = parts[0].spec.numel
        with (
            readers[0].gathering(count * sizes[0], 0) as a,
            readers[1].gathering(count * sizes[1], 0) as b,
        ):
            for reader, part, room in zip(readers, parts, (a, b), strict=True):
                reader.make(part, room)
            if dtypes[0] != dtypes[1] or not np.array_equal(a, b):
                tally.add(a, b, dtypes, done)
        done += count
    at = tuple(map(int, np.unravel_index(tally.at, shape))) if tally.differing else ()
    return ValueDiff(
        key, done, tally.differing, tally.beyond, tally.largest, tally.relative, at,
        tally.values, tally.other_bits,
    )  # fmt: skip


class _Tally:
    """What was seen so far of the differences of one tensor."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.differing = self.beyond = self.at = 0
        self.largest, self.relative = 0.0, 0.0
        self.values = (0.0, 0.0)
        self.other_bits = False

    def add(self, a: Array, b: Array, dtypes: list[str], start: int) -> None:
        """Takes in the bytes of elements that begin with number `start`."""
        sizes = [DTYPES[dtype].size for dtype in dtypes]
        for first in range(0, len(a) // sizes[0], _AT_ONCE):
            one, other = (
                _numbers(room[first * size : (first + _AT_ONCE) * size], dtype)
                for room, size, dtype in zip((a, b), sizes, dtypes, strict=True)
            )
            self._add(one, other, start + first)
        self.other_bits = self.other_bits or dtypes[0] == dtypes[1]

    def _add(self, one: Array, other: Array, start: int) -> None:
        with np.errstate(all="ignore"):
            differs = (one != other) & ~((one != one) & (other != other))
            if not differs.any():
                return
            away = np.abs(_double(one) - _double(other))
            away[np.isnan(away)] = np.inf
            size = np.abs(_double(other))
            allowed = self.tolerance.atol + self.tolerance.rtol * size
            exact = not self.tolerance.atol and not self.tolerance.rtol
            beyond = differs if exact else differs & ~((away <= allowed) & np.isfinite(away))
            relative = away / size
        self.differing += int(differs.sum())
        self.beyond += int(beyond.sum())
        self.relative = max(self.relative, float(relative[differs].max()))
        worst = int(np.where(differs, away, -1).argmax())
        if away[worst] > self.largest or not self.largest:
            self.largest, self.at = float(away[worst]), start + worst
            self.values = _plain(one[worst]), _plain(other[worst])


def _numbers(raw: Array, dtype: str) -> Array:
    """Elements as numpy knows them: those of few bits as float32, which holds each of them."""
    if dtype == "bfloat16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype.startswith("float8"):
        wide: Array = as_torch(raw.view(np.int8), dtype).float().numpy()
        return wide
    return raw.view(np.dtype(dtype))


def _double(values: Array) -> Array:
    return values if values.dtype.kind == "c" else values.astype(np.float64)


def _plain(value: Any) -> float:
    return float(np.abs(value)) if np.iscomplexobj(value) else float(value)
