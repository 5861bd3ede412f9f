"""Which tensors of two checkpoints belong together, by content alone. What is done to them: solve.

First come those that are equal bit for bit. Of the others, each target tensor is taken as a set of
lines, as long as may be, all of which are somewhere in the source: whole tensors, rows, columns.
All that is looked up is a hash, so the time goes with the number of elements, not of pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mapengine.inference.files import Address
from mapengine.inference.fingerprints import Array, complement, count, lines, mixed, subsets
from mapengine.inference.sample import Sample

_SHORTEST = 4
"""Elements of the shortest line that is taken for the same where its hash is."""


@dataclass(frozen=True, slots=True)
class Group:
    """Source tensors and the target tensors that are made of them, in the order of the files.

    `equal`: each source is each target, bit for bit, so that only their keys pair them.
    """

    sources: tuple[Address, ...]
    targets: tuple[Address, ...]
    equal: bool = False


@dataclass
class Matches:
    """The groups found, and what is in none of them."""

    groups: list[Group] = field(default_factory=list)
    unmatched: list[Address] = field(default_factory=list)
    unused: list[Address] = field(default_factory=list)


def match(source: Sample, target: Sample) -> Matches:
    """Every target tensor in a group, as far as its content says in which."""
    found = Matches()
    used: set[Address] = set()
    rest: list[Address] = []
    for group in _equal(source, target):
        if group.sources:
            found.groups.append(group)
            used.update(part for one in group.sources for part in source.ranks[one.key])
        else:
            rest += group.targets
    telling = [address for address in rest if not target.constant(address)]
    left = [a for a in source.addresses if a not in used]
    for group in _composed(source, left, target, telling):
        found.groups.append(group)
        used.update(group.sources)
    grouped = {address for group in found.groups for address in group.targets}
    found.unmatched = [address for address in rest if address not in grouped]
    found.unused = [address for address in source.addresses if address not in used]
    return found


def _equal(source: Sample, target: Sample) -> Iterator[Group]:
    """Targets that are equal to one another, with the sources that are equal to them."""
    dtypes = {target.spec(address).dtype for address in target.addresses}
    sources: dict[bytes, list[Address]] = {}
    for address in source.addresses:
        for dtype in dtypes:
            if source.castable(address, dtype):
                sources.setdefault(source.digest(address, dtype), []).append(address)
    targets: dict[bytes, list[Address]] = {}
    for address in target.addresses:
        targets.setdefault(target.digest(address), []).append(address)
    for digest, members in targets.items():
        equal = sources.get(digest, ())
        keys = {
            key: [a for a in equal if a.key == key] for key in dict.fromkeys(a.key for a in equal)
        }
        same = [parts[0] for key, parts in keys.items() if len(parts) == len(source.ranks[key])]
        source.replicated.update(a.key for a in same if len(source.ranks[a.key]) > 1)
        yield Group(tuple(same), tuple(members), equal=True)


class _Lines:
    """The lines of many tensors by length and hash. A line that two keys have tells nothing."""

    def __init__(self, sample: Sample, addresses: Sequence[Address], dtype: str) -> None:
        parts: dict[int, list[tuple[Array, int]]] = {}
        self.keys = list(dict.fromkeys(address.key for address in addresses))
        places = {key: place for place, key in enumerate(self.keys)}
        for address in addresses:
            place = places[address.key]
            hashes = mixed(np.squeeze(sample.bits(address, dtype)))
            for fixed in subsets(hashes.ndim):
                length = count(hashes.shape, complement(fixed, hashes.ndim))
                if length >= _SHORTEST:
                    parts.setdefault(length, []).append((np.unique(lines(hashes, fixed)), place))
        self._tables = {length: _table(one) for length, one in parts.items()}

    def owners(self, length: int, hashes: Array) -> Array | None:
        """Whose each line is, -1 for one of several; None where there is one that nobody has."""
        if length not in self._tables:
            return None
        known, owner = self._tables[length]
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return owner[places] if np.array_equal(known[places], hashes) else None


def _table(parts: list[tuple[Array, int]]) -> tuple[Array, Array]:
    hashes = np.concatenate([one for one, _ in parts])
    owners = np.concatenate([np.full(len(one), place) for one, place in parts])
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    first = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    lowest = np.minimum.reduceat(owners, first)
    highest = np.maximum.reduceat(owners, first)
    return hashes[first], np.where(lowest == highest, lowest, -1)


def _composed(
    source: Sample, sources: Sequence[Address], target: Sample, targets: Sequence[Address]
) -> Iterator[Group]:
    """Targets with the sources they share lines with, each set of them that hangs together."""
    edges: list[tuple[Address, Address]] = []
    for dtype in sorted({target.spec(address).dtype for address in targets}):
        ours = [a for a in sources if source.castable(a, dtype) and not source.constant(a)]
        theirs = [address for address in targets if target.spec(address).dtype == dtype]
        table = _Lines(source, ours, dtype)
        for address in theirs:
            for place in _owners(table, target, address):
                edges += [(part, address) for part in source.ranks[table.keys[place]]]
        joined = {address for _, address in edges}
        edges += _windows(source, ours, target, [a for a in theirs if a not in joined], dtype)
    yield from _connected(edges, [*source.addresses], [*target.addresses])


def _owners(table: _Lines, target: Sample, address: Address) -> list[int]:
    hashes = mixed(np.squeeze(target.bits(address)))
    for fixed in subsets(hashes.ndim):
        length = count(hashes.shape, complement(fixed, hashes.ndim))
        owners = table.owners(length, lines(hashes, fixed)) if length >= _SHORTEST else None
        if owners is not None and (owners >= 0).any():
            return [int(place) for place in np.unique(owners[owners >= 0])]
    return []


def _windows(
    source: Sample, ours: Sequence[Address], target: Sample, theirs: Sequence[Address], dtype: str
) -> Iterator[tuple[Address, Address]]:
    """Vectors that hold another as a part, in whatever order: of a bias only its whole tells."""
    left = {a: mixed(source.bits(a, dtype)) for a in ours if len(source.spec(a).shape) == 1}
    right = {a: mixed(target.bits(a)) for a in theirs if len(target.spec(a).shape) == 1}
    for a, b in _inside(left, right):
        yield a, b
    for b, a in _inside(right, left):
        yield a, b


def _inside(
    large: dict[Address, Array], small: dict[Address, Array]
) -> Iterator[tuple[Address, Address]]:
    by_size: dict[int, dict[int, list[Address]]] = {}
    for address, hashes in small.items():
        if len(hashes) >= _SHORTEST:
            sums = by_size.setdefault(len(hashes), {})
            sums.setdefault(int(hashes.sum(dtype=np.uint64)), []).append(address)
    for outer, hashes in large.items():
        running = np.concatenate([[np.uint64(0)], np.cumsum(hashes, dtype=np.uint64)])
        for size, sums in by_size.items():
            if size < len(hashes):
                found = running[size:] - running[:-size]
                wanted = np.fromiter(sums, np.uint64)
                for value in np.unique(found[np.isin(found, wanted)]):
                    yield from ((outer, inner) for inner in sums[int(value)])


def _connected(
    edges: Iterable[tuple[Address, Address]], sources: list[Address], targets: list[Address]
) -> Iterator[Group]:
    parent: dict[tuple[int, Address], tuple[int, Address]] = {}

    def root(node: tuple[int, Address]) -> tuple[int, Address]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        parent[root((0, a))] = root((1, b))
    groups: dict[tuple[int, Address], tuple[list[Address], list[Address]]] = {}
    for side, addresses in enumerate((sources, targets)):
        for address in addresses:
            if (side, address) in parent:
                groups.setdefault(root((side, address)), ([], []))[side].append(address)
    for ours, theirs in groups.values():
        yield Group(tuple(ours), tuple(theirs))
