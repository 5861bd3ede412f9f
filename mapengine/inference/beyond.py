"""What no hash of content finds: by the neighbours of a tensor, or made of nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mapengine.inference.families import instance
from mapengine.inference.files import Address
from mapengine.inference.matching import Group
from mapengine.inference.sample import Sample, typed
from mapengine.inference.solving import Solved


def siblings(
    solved: Iterable[Solved], left: set[Address], free: set[Address]
) -> Iterator[tuple[Group, Solved]]:
    """The biases of weights that are explained, where they are not: they go the same way."""
    for one in solved:
        sources = [_sibling(a) for f in one.instance.sources for a in f.members()]
        targets = [_sibling(a) for f in one.instance.targets for a in f.members()]
        ours = [a for a in sources if a in free]
        theirs = [a for a in targets if a in left]
        if ours and len(ours) == len(sources) and len(theirs) == len(targets):
            yield Group(tuple(ours), tuple(theirs)), one


def _sibling(address: Address) -> Address | None:
    module, dot, last = address.key.rpartition(".")
    return Address(f"{module}{dot}bias", address.rank) if last == "weight" else None


def likewise(group: Group, weight: Solved) -> Solved | None:
    """The same ops for biases all of whose elements are one, which any op would make."""
    ops = []
    for op in weight.ops:
        left, right = op.axes
        if op.dim or op.order or (left and (left[-1] != right[-1] or len(left) < 2)):
            return None
        ops.append(replace(op, axes=(left[:-1], right[:-1])))
    one = instance(group)
    order = [family.pattern.words for family in weight.instance.targets]
    if one is None or len(one.targets) != len(order):
        return None
    return Solved(one, tuple(ops))


def constants(target: Sample, left: Sequence[Address]) -> Iterator[tuple[Address, str]]:
    """Target tensors that the mapping can say by itself, each with its value as it is written."""
    import torch

    for address in left:
        spec = target.spec(address)
        values = typed(target, address)
        if target.constant(address) and spec.numel:
            number = values.reshape(-1)[0].item()
            if number == number and not isinstance(number, complex):
                words = {"0": "zeros", "1": "ones"}
                yield address, words.get(f"{number:g}", f"{number:g}")
        elif values.ndim >= 2 and torch.equal(values, torch.ones_like(values).tril()):
            yield address, "tril"
        elif torch.equal(values.reshape(-1), torch.arange(spec.numel).to(values.dtype)):
            yield address, "arange"
