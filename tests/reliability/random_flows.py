"""What rules at random do: one tensor to one, many to one, one to many, many to many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reliability.random_ops import Work

Range = Sequence[int | str]


@dataclass(frozen=True)
class Fan:
    """The members that a rule takes or makes: an index in its key, or a list of keys."""

    index: str | None
    values: Range

    @property
    def word(self) -> dict[str, str]:
        """How an op that makes it says so, and `over` for one that takes it."""
        return {"into": self.index} if self.index else {}

    @property
    def over(self) -> dict[str, str]:
        return {"over": self.index} if self.index else {}


def _one(work: Work, left: Fan | None, right: Fan | None) -> None:
    work.some(3)


def _in(work: Work, left: Fan | None, right: Fan | None) -> None:
    assert left
    work.some(2)
    _joined(work, left)
    work.some(2)


def _out(work: Work, left: Fan | None, right: Fan | None) -> None:
    assert right
    work.some(2)
    _cut(work, right)
    work.some(2)


def _through(work: Work, left: Fan | None, right: Fan | None) -> None:
    assert left and right
    _joined(work, left)
    work.some(1)
    _cut(work, right)


def _uneven(work: Work, left: Fan | None, right: Fan | None) -> None:
    sizes = [one.shape[0] for one in work.groups[0]]
    work.all(
        {"concat": {"dim": 0, "sizes": [work.spell(size) for size in sizes]}},
        lambda group: [torch.cat(group)],
    )
    work.some(2)


def _parts(work: Work, left: Fan | None, right: Fan | None) -> None:
    """Cut into parts of sizes that are said."""
    assert right
    work.some(2)
    dim, count = work.chance.randrange(len(work.shape)), len(right.values)
    ends = sorted(work.chance.randint(0, work.shape[dim]) for _ in range(count - 1))
    sizes = [end - start for start, end in zip([0, *ends], [*ends, work.shape[dim]], strict=True)]
    said = {**right.word, "dim": dim, "sizes": [work.spell(size) for size in sizes]}
    work.all({"split": said}, lambda group: torch.split(group[0], sizes, dim))


def _same(work: Work, left: Fan | None, right: Fan | None) -> None:
    assert left
    work.all({"same": left.over} if left.index else "same", lambda group: group[:1])
    work.some(2)


def _copy(work: Work, left: Fan | None, right: Fan | None) -> None:
    assert right
    work.some(2)
    count = len(right.values)
    work.all({"copy": right.word} if right.index else "copy", lambda group: group * count)


def _joined(work: Work, fan: Fan) -> None:
    name, axes = work.chance.choice(["concat", "stack"]), len(work.shape)
    if name == "concat" and axes:
        dim = work.chance.randrange(-axes, axes)
        work.all({"concat": {**fan.over, "dim": dim}}, lambda group: [torch.cat(group, dim)])
        return
    dim = work.chance.randrange(-axes - 1, axes + 1)
    work.all({"stack": {**fan.over, "dim": dim}}, lambda group: [torch.stack(group, dim)])


def _cut(work: Work, fan: Fan) -> None:
    count = len(fan.values)
    fits = [dim for dim, size in enumerate(work.shape) if size and size % count == 0]
    if not fits:
        _parts(work, None, fan)
        return
    dim = work.chance.choice(fits)
    said = {**fan.word, "dim": dim}
    if work.shape[dim] == count and work.chance.random() < 0.7:
        work.all({"unstack": said}, lambda group: group[0].unbind(dim))
    else:
        work.all({"split": said}, lambda group: group[0].chunk(count, dim))


FLOW_OPS = {
    "one": _one, "in": _in, "out": _out, "through": _through, "uneven": _uneven, "parts": _parts,
    "same": _same, "copy": _copy,
}  # fmt: skip
FLOWS = ["one", "one", "one", *FLOW_OPS]
