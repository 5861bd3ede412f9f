"""All tensors of a side whose keys differ in numbers alone, as drafts pair them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from mapengine.inference.families import Pattern, pattern_of
from mapengine.inference.files import Address
from mapengine.inference.names import words
from mapengine.specs import StoredTensor

_PHRASES = (
    # where a norm stands: before the attention, or before what follows it
    (
        re.compile(r"post_attention_(layer_?)?norm|\bln_?2\b|\bnorm_?2\b|layernorm_after"),
        "ffn_norm",
    ),
    (re.compile(r"input_(layer_?)?norm|\bln_?1\b|\bnorm_?1\b|layernorm_before"), "attention_norm"),
    (re.compile(r"\bfc_?1\b|c_fc|h_to_4h|\bfc_in\b"), "up"),
    (re.compile(r"\bfc_?2\b|4h_to_h|\bfc_out\b"), "down"),
    (re.compile(r"\bw1\b"), "gate"),
    (re.compile(r"\bw2\b"), "down"),
    (re.compile(r"\bw3\b|\bv1\b"), "up"),
    (re.compile(r"lm_head|embed_out|\boutput\.weight\b|final_linear"), "head"),
)
_PARTS = ("query", "key", "value", "gate", "up")
_VAGUE = frozenset({"proj", "self", "mixer", "module", "transformer", "layer", "projection"})


@dataclass(frozen=True, slots=True)
class Keys:
    """One pattern of a side: its shape, the numbers of each member, and its place in the files."""

    pattern: Pattern
    shape: tuple[int, ...]
    dtype: str
    numbers: tuple[tuple[int, ...], ...]
    place: float

    @property
    def text(self) -> str:
        return self.pattern.text(["{}"] * (len(self.pattern.words) - 1))

    @property
    def leaf(self) -> str:
        """Weight or bias, where a key ends so."""
        last = self.text.rpartition(".")[2]
        return last if last in ("weight", "bias") else ""

    @property
    def parent(self) -> str:
        """What its module lies in."""
        return self.text.removesuffix(f".{self.leaf}").rpartition(".")[0]

    def column(self, slot: int) -> frozenset[int]:
        return frozenset(one[slot] for one in self.numbers)


def keys_of(tensors: Mapping[Address, StoredTensor]) -> list[Keys]:
    """The patterns of a side, each split by shape where it has several."""
    groups: dict[tuple[Pattern, tuple[int, ...], str], list[tuple[int, ...]]] = {}
    for address, stored in tensors.items():
        pattern, numbers = pattern_of(address)
        groups.setdefault((pattern, stored.spec.shape, stored.spec.dtype), []).append(numbers)
    total = max(len(groups) - 1, 1)
    return [
        Keys(pattern, shape, dtype, tuple(numbers), place / total)
        for place, ((pattern, shape, dtype), numbers) in enumerate(groups.items())
    ]


def alike(one: Keys, other: Keys) -> float:
    """How alike two keys are, from 0 to 1, by the words of their modules."""
    if one.text == other.text:
        return 1.0
    a, b = meaning(one), meaning(other)
    shared = 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0
    near = SequenceMatcher(None, _last(one), _last(other)).ratio()
    wrong = 0.5 if {one.leaf, other.leaf} == {"weight", "bias"} else 0.0
    return max(0.0, 0.75 * shared + 0.2 * near - wrong)


def _last(one: Keys) -> str:
    return ".".join(one.text.split(".")[-3:])


def meaning(one: Keys) -> frozenset[str]:
    """The words of a key that say which tensor of a layer it is."""
    text = one.text.replace("{}.", "")
    for phrase, plain in _PHRASES:
        text = phrase.sub(plain, text)
    return words(text) - _VAGUE or words(text)


def linked(source: Keys, target: Keys) -> tuple[list[tuple[int, int]], list[int], list[int]] | None:
    """Which numbers count together, and which stand on one side only; None where they cannot.

    Numbers go together in their order, where as many of them are there.
    """
    pairs, used = [], set[int]()
    slots = range(len(target.numbers[0]))
    own = [s for s in range(len(source.numbers[0])) if not source.pattern.is_rank(s)]
    for slot in own:
        column = source.column(slot)
        for other in slots:
            if other not in used and len(target.column(other)) == len(column):
                pairs.append((slot, other))
                used.add(other)
                break
    ours = [s for s in range(len(source.numbers[0])) if s not in {a for a, _ in pairs}]
    theirs = [s for s in slots if s not in used]
    if any(len(source.column(s)) < 2 for s in ours) or any(
        len(target.column(s)) < 2 for s in theirs
    ):
        ours = [s for s in ours if len(source.column(s)) > 1]
        theirs = [s for s in theirs if len(target.column(s)) > 1]
    return (pairs, ours, theirs) if len(ours) <= 2 and len(theirs) <= 1 else None


def siblings(listed: Iterable[Keys]) -> dict[tuple[str, str], list[Keys]]:
    """Keys of one module, by it and their last word: those that may be parts of one tensor."""
    found: dict[tuple[str, str], list[Keys]] = {}
    for one in listed:
        found.setdefault((one.parent, one.leaf), []).append(one)
    return found


def ordered(parts: Sequence[Keys]) -> list[Keys]:
    """Parts in the order that is usual: query, key, value; gate before up."""
    return sorted(parts, key=lambda one: (_usual(one), one.place))


def usual(parts: Sequence[Keys]) -> int:
    """How many parts are of those that are often one tensor."""
    return sum(_usual(one) < len(_PARTS) for one in parts)


def _usual(one: Keys) -> int:
    meant = meaning(one)
    return next((i for i, word in enumerate(_PARTS) if word in meant), len(_PARTS))
