"""Stretches of a tensor, row by row, as boxes: a (start, length) for each axis. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from mapengine.views import Lazy

Box = tuple[tuple[int, int], ...]


def grid(shape: Sequence[int], limit: int) -> Iterator[Box]:
    """Consecutive boxes that make up a tensor, each of at most `limit` elements, or of one."""
    if not shape:
        yield ()
        return
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) > limit:
        axis += 1
    step = max(limit // math.prod(shape[axis + 1 :]), 1)
    whole = tuple((0, n) for n in shape[axis + 1 :])
    for index in itertools.product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            length = min(step, shape[axis] - start)
            yield (*((i, 1) for i in index), (start, length), *whole)


def stretch(shape: Sequence[int], start: int, count: int) -> Iterator[Box]:
    """The few consecutive boxes that hold `count` elements, row-major, from number `start`."""
    if not shape:
        yield ()
        return
    inner = math.prod(shape[1:])
    while count:
        row, skipped = divmod(start, inner)
        if skipped or count < inner:
            taken = min(inner - skipped, count)
            for box in stretch(shape[1:], skipped, taken):
                yield (row, 1), *box
        else:
            taken = count - count % inner
            yield (row, taken // inner), *((0, n) for n in shape[1:])
        start, count = start + taken, count - taken


def within(content: Lazy, box: Box) -> Lazy:
    """The part of a tensor that lies in a box."""
    for dim, (start, length) in enumerate(box):
        if length != content.shape[dim]:
            content = content.narrow(dim, start, length)
    return content
