"""Which keys of two sides go together, by shape, count and name; and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from mapengine.inference.keys import Keys, alike, linked, ordered, siblings, usual
from mapengine.inference.proposals import FanSize, proposals, uneven
from mapengine.inference.steps import Op
from mapengine.specs import DTYPES

_CLOSE = 0.12
"""How much better the pairs that are taken must be than the same the other way round."""
_LEAST = 0.15
_MOST_PARTS = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """Keys that go together, the numbers that count together in the first of each, and the ops."""

    sources: tuple[Keys, ...]
    targets: tuple[Keys, ...]
    loops: tuple[tuple[int, int], ...]
    ops: tuple[Op, ...]
    score: float
    doubts: tuple[str, ...] = ()
    alone: bool = False

    @property
    def note(self) -> str:
        """What the comment beside its rule says."""
        if self.sources[0].text == self.targets[0].text and not self.ops:
            sure = "the same key and shape"
        elif self.alone and not self.doubts:
            sure = "nothing else fits by shape and count"
        else:
            sure = f"by name, alike to {min(self.score, 0.99):.0%}"
        return "; ".join([sure, *self.doubts])


@dataclass
class Pairing:
    """The pairs found, and what is left on either side."""

    sources: list[Keys]
    targets: list[Keys]
    pairs: list[Pair] = field(default_factory=list)

    def take(self, pair: Pair) -> None:
        self.pairs.append(pair)
        self.sources = [one for one in self.sources if one not in pair.sources]
        self.targets = [one for one in self.targets if one not in pair.targets]


def paired(sources: Sequence[Keys], targets: Sequence[Keys]) -> Pairing:
    """First keys that are the same, then parts of one tensor, then the others by name."""
    found = Pairing(list(sources), list(targets))
    for one in _singles(found):
        same = one.sources[0].text == one.targets[0].text and not one.ops
        if same and one.sources[0] in found.sources and one.targets[0] in found.targets:
            found.take(one)
    for one in sorted(_lists(found), key=lambda pair: -pair.score):
        free = set(one.sources) <= set(found.sources) and set(one.targets) <= set(found.targets)
        if free:
            found.take(one)
    _by_name(found)
    found.pairs = [_with_left(pair, found.sources) for pair in found.pairs]
    return found


def _with_left(pair: Pair, left: Sequence[Keys]) -> Pair:
    """A pair that another source may belong to: it is left over, and its shape is the same."""
    ours = pair.sources[0]
    same = [one.text for one in left if one.shape == ours.shape and one.numbers == ours.numbers]
    if not same or not alike(ours, pair.targets[0]):
        return pair
    return replace(pair, doubts=(*pair.doubts, f"{same[0]} is left over, and may be the same"))


def _singles(found: Pairing) -> Iterator[Pair]:
    """Every pair of one key and one other that shapes and counts allow."""
    for ours in found.sources:
        for theirs in found.targets:
            yield from fitting(ours, theirs)


def fitting(ours: Keys, theirs: Keys) -> Iterator[Pair]:
    """The plainest way from one key to another, if there is one."""
    match = linked(ours, theirs)
    if match is None or not _counted(ours, theirs, match[0]):
        return
    loops, uses, makes = match
    ways = list(proposals(ours.shape, theirs.shape, _fans(ours, uses), _fans(theirs, makes)))
    for way in ways[:1]:
        doubts = [way.doubt] if way.doubt else []
        if len(ways) > 1:
            doubts.append("the shapes allow another way too")
        near = 0.05 * (1 - abs(ours.place - theirs.place)) - 0.02 * len(way.ops)
        ops, doubt = _cast(ours.dtype, theirs.dtype)
        doubts += doubt
        score = alike(ours, theirs) + near
        yield Pair((ours,), (theirs,), tuple(loops), (*ops, *way.ops), score, tuple(doubts))


def _cast(own: str, wanted: str) -> tuple[list[Op], list[str]]:
    """The op for another dtype, where it is one of the same kind; and that it is another."""
    if own == wanted:
        return [], []
    plain = DTYPES[own].floating and DTYPES[wanted].floating and DTYPES[own].size > 1
    doubt = f"{own} there, {wanted} here"
    return ([Op("cast", word=wanted)], [doubt]) if plain else ([], [f"{doubt}: is there a scale?"])


def _fans(one: Keys, slots: Sequence[int]) -> list[FanSize]:
    return [
        ("rank" if one.pattern.is_rank(slot) else one.pattern.above(slot), len(one.column(slot)))
        for slot in slots
    ]


def _counted(ours: Keys, theirs: Keys, loops: Sequence[tuple[int, int]]) -> bool:
    """Whether both are there for the same numbers, counted from the first of each."""

    def points(one: Keys, slots: Sequence[int]) -> set[tuple[int, ...]]:
        lowest = [min(one.column(slot)) for slot in slots]
        return {
            tuple(numbers[s] - low for s, low in zip(slots, lowest, strict=True))
            for numbers in one.numbers
        }

    return points(ours, [a for a, _ in loops]) == points(theirs, [b for _, b in loops])


def _lists(found: Pairing) -> Iterator[Pair]:
    """One key that no single other fits, as several of one module on the other side."""
    fits = list(_singles(found))
    fitted = {pair.sources[0] for pair in fits}, {pair.targets[0] for pair in fits}
    for whole in (one for one in found.sources if one not in fitted[0]):
        for parts in _sets(found.targets):
            yield from _split(whole, parts)
    for whole in (one for one in found.targets if one not in fitted[1]):
        for parts in _sets(found.sources):
            yield from _joined(parts, whole)


def _sets(listed: Sequence[Keys]) -> Iterator[list[Keys]]:
    for together in siblings(listed).values():
        for size in range(2, min(_MOST_PARTS, len(together)) + 1):
            for parts in combinations(together, size):
                yield ordered(parts)


def _split(whole: Keys, parts: Sequence[Keys]) -> Iterator[Pair]:
    way = _way(whole, parts)
    if way is not None:
        loops, op, doubt = way
        yield Pair((whole,), tuple(parts), loops, (op,), _together(whole, parts), (doubt,))


def _joined(parts: Sequence[Keys], whole: Keys) -> Iterator[Pair]:
    way = _way(whole, parts)
    score = _together(whole, parts)
    if way is not None:
        loops, op, doubt = way
        back = Op("concat", None, op.dim, sizes=op.sizes)
        turned = tuple((b, a) for a, b in loops)
        yield Pair(tuple(parts), (whole,), turned, (back,), score, (doubt,))
        return
    match = linked(parts[0], whole)
    if match is None or len({part.shape for part in parts}) > 1 or match[2] or len(match[1]) != 1:
        return
    fans = [("", len(parts)), *_fans(parts[0], match[1])]
    for one in list(proposals(parts[0].shape, whole.shape, fans, []))[:1]:
        doubts = (one.doubt, "the order of the parts is a guess")
        yield Pair(tuple(parts), (whole,), tuple(match[0]), one.ops, score, doubts)


def _way(whole: Keys, parts: Sequence[Keys]) -> tuple[tuple[tuple[int, int], ...], Op, str] | None:
    match = linked(whole, parts[0])
    if match is None or match[1] or match[2]:
        return None
    if any(part.numbers != parts[0].numbers for part in parts) or not _counted(
        whole, parts[0], match[0]
    ):
        return None
    cut = uneven(whole.shape, [part.shape for part in parts])
    if cut is None:
        return None
    dim, sizes = cut
    even = len(set(sizes)) == 1
    doubt = f"that the parts lie in this order along axis {dim} is a guess"
    return tuple(match[0]), Op("split", None, dim, sizes=() if even else sizes), doubt


def _together(whole: Keys, parts: Sequence[Keys]) -> float:
    """How alike a whole is to its parts, those that are often parts first."""
    mean = sum(alike(whole, part) for part in parts) / len(parts)
    return mean + 0.03 * len(parts) + 0.05 * usual(parts)


def _by_name(found: Pairing) -> None:
    """The likest pairs first. Where two could as well go the other way round, that is a tie."""
    fits = sorted(_singles(found), key=lambda pair: -pair.score)
    score = {(pair.sources[0], pair.targets[0]): pair.score for pair in fits}
    chosen: list[Pair] = []
    taken: set[Keys] = set()
    for least in (_LEAST, -1.0):  # names that say nothing: only where none would be left over
        for pair in fits:
            ours, theirs = pair.sources[0], pair.targets[0]
            rivals = [
                (a, b) for a, b in score if not {a, b} & taken and (a == ours) != (b == theirs)
            ]
            left, right = (sum(one[side] in (ours, theirs) for one in rivals) for side in (1, 0))
            if not {ours, theirs} & taken and (pair.score >= least >= 0 or left == right):
                taken |= {ours, theirs}
                chosen.append(pair)
    for pair in chosen:
        found.take(_told(pair, chosen, score))


def _told(pair: Pair, chosen: Sequence[Pair], score: dict[tuple[Keys, Keys], float]) -> Pair:
    ours, theirs = pair.sources[0], pair.targets[0]
    others = [
        other.sources[0].text
        for other in chosen
        if other is not pair
        and (ours, other.targets[0]) in score
        and (other.sources[0], theirs) in score
        and pair.score + other.score
        < score[ours, other.targets[0]] + score[other.sources[0], theirs] + _CLOSE
    ]
    rivals = sum(1 for a, b in score if (a == ours) != (b == theirs))
    doubts = list(pair.doubts)
    if others:
        doubts.append(f"a tie: {', '.join(sorted(others)[:3])} would do as well")
    if len(ours.shape) == 2 and ours.shape[0] == ours.shape[1]:
        doubts.append("a square: whether it is turned, shapes do not tell")
    return replace(pair, doubts=tuple(doubts), alone=rivals == 0)
