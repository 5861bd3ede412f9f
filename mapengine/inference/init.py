"""The draft of a mapping, from headers alone: a start for whoever writes one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mapengine.checkpoints import storage
from mapengine.inference.assembly import fields_for
from mapengine.inference.contents import Checkpoint, read_checkpoint
from mapengine.inference.draft import Draft
from mapengine.inference.families import Family, Instance
from mapengine.inference.finding import Finding
from mapengine.inference.indices import Indices
from mapengine.inference.keys import Keys, keys_of
from mapengine.inference.pairing import Pair, paired
from mapengine.inference.rules import Rule, texts
from mapengine.inference.sample import Sample
from mapengine.inference.solving import Solved
from mapengine.specs import SUFFIXES

PathLike = str | Path


@dataclass(frozen=True, slots=True)
class Drafted:
    """The draft, how many target tensors it makes of how many, and what remains on either side.

    `doubts` is of each target tensor whether it was paired by its name, or is a tie.
    """

    text: str
    rules: int
    tensors: int
    of_tensors: int
    ties: int
    unexplained: tuple[str, ...]
    dropped: tuple[str, ...]
    doubts: Mapping[str, bool]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, for JSON."""
        return asdict(self)


def draft(
    source: PathLike, target: PathLike | None, model: str = "", name: str = "draft"
) -> Drafted:
    """A mapping from the checkpoint in `source` to the form of that in `target`, or of a class.

    Raises `MapengineError` for folders that cannot be read, and a class that is not there.
    """
    ours = read_checkpoint(Path(source))
    if target is not None:
        theirs = _target(Path(target), ours)
    else:
        from mapengine.inference.model import as_checkpoint

        theirs = as_checkpoint(model, ours)
    return drafted(ours, theirs, name)


def _target(folder: Path, source: Checkpoint) -> Checkpoint:
    """A checkpoint, or what would be one: of a folder with a config and no tensors."""
    names = storage.list_files(folder)
    if any(Path(name).suffix in SUFFIXES for name in names) or "config.json" not in names:
        return read_checkpoint(folder)
    from mapengine.inference.model import of_config

    return of_config(folder, source)


def drafted(source: Checkpoint, target: Checkpoint, name: str = "draft") -> Drafted:
    """The same of what is known of the two already."""
    found = Finding(Sample(source), Sample(target))
    notes: dict[str, str] = {}
    pairing = paired(keys_of(source.tensors), keys_of(target.tensors))
    for pair in pairing.pairs:
        for solved in _instances(pair):
            found.solved.append(solved)
            for family in solved.instance.targets:
                notes.update((address.key, pair.note) for address in family.members())
    indices = Indices(source.tensors, target.tensors)
    rules = [_noted(rule, notes) for rule in found.rules(indices)]
    fields, numbers = fields_for(source, target, rules, indices)
    text = Draft(found.source, found.target, fields, numbers, indices).text(
        name,
        f"A draft, from headers alone: {source.folder.name} to {target.folder.name}",
        rules,
        list(dict.fromkeys(texts(found.free, indices))),
        "no place in the target was found",
    )
    left = tuple(address.key for address in found.left)
    return Drafted(
        _headed(text, left), len(rules), len(target.tensors) - len(left), len(target.tensors),
        sum("a tie" in note for rule in rules for note in rule.notes), left,
        tuple(dict.fromkeys(address.key for address in found.free)),
        {key: "by name" in note or ";" in note for key, note in notes.items()},
    )  # fmt: skip


def _headed(text: str, left: Sequence[str]) -> str:
    lines = [
        "# A draft by `mapengine init`, from headers alone: what a comment says is to be checked.",
        "# No shape shows the order of rotary pairs, of parts that are joined, or which is which.",
        *(f"# Nothing found for: {key}" for key in left),
    ]
    return "\n".join([*lines, text])


def _noted(rule: Rule, notes: dict[str, str]) -> Rule:
    key = rule.first.instance.targets[0].members()[0].key
    return replace(rule, notes=(notes[key],)) if key in notes else rule


def _instances(pair: Pair) -> Iterator[Solved]:
    """The groups of tensors that a pair stands for, one for each value of its loops."""
    ours, theirs = pair.sources[0], pair.targets[0]
    lowest = [(min(ours.column(a)), min(theirs.column(b))) for a, b in pair.loops]
    points = {tuple(numbers[a] for a, _ in pair.loops) for numbers in ours.numbers}
    left, right = ([slot for slot, _ in pair.loops], [slot for _, slot in pair.loops])
    for point in sorted(points):
        there = [value - a + b for value, (a, b) in zip(point, lowest, strict=True)]
        sources = tuple(_family(one, left, point) for one in pair.sources)
        targets = tuple(_family(one, right, there) for one in pair.targets)
        yield Solved(Instance(sources, targets), pair.ops)


def _family(one: Keys, slots: Sequence[int], values: Sequence[int]) -> Family:
    fixed = dict(zip(slots, values, strict=True))
    ranges = tuple(
        range(fixed[slot], fixed[slot] + 1)
        if slot in fixed
        else range(min(one.column(slot)), max(one.column(slot)) + 1)
        for slot in range(len(one.numbers[0]))
    )
    return Family(one.pattern, ranges)
