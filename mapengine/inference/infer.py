"""Mapping by example: two checkpoints in, the mapping that makes the one of the other out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mapengine.errors import Problem
from mapengine.inference.assembly import fields_for
from mapengine.inference.checking import check
from mapengine.inference.contents import read_checkpoint
from mapengine.inference.draft import Draft
from mapengine.inference.files import Address
from mapengine.inference.finding import find
from mapengine.inference.indices import Indices
from mapengine.inference.inferred import Inference
from mapengine.inference.rules import texts
from mapengine.inference.sample import Sample

PathLike = str | Path


def infer(source: PathLike, target: PathLike, name: str = "inferred") -> Inference:
    """The mapping that makes the checkpoint in `target` of that in `source`, found by content.

    It is run and compared with the target before it is returned. Raises `CheckpointError` for
    folders that cannot be read.
    """
    ours, theirs = Sample(read_checkpoint(Path(source))), Sample(read_checkpoint(Path(target)))
    found = find(ours, theirs)
    indices = Indices(ours.addresses, theirs.addresses)
    rules = found.rules(indices)
    fields, numbers = fields_for(ours.checkpoint, theirs.checkpoint, rules, indices)
    draft = Draft(ours, theirs, fields, numbers, indices)
    title = f"Inferred from an example: {Path(source).name} to {Path(target).name}"
    dropped = list(dict.fromkeys(texts(found.free, indices)))
    text = draft.text(name, title, rules, dropped)
    ties = (*found.ties, *draft.notes, *draft.rule_text.told())
    differences, problems = _checked(text, Path(source), theirs)
    constants = {one.targets[0]: one.value for one in fields.listed.values() if one.constant}
    of_fields = sum(len(one.targets) for one in fields.listed.values())
    return Inference(
        text=_headed(text, ties, found.left),
        rules=len(rules),
        tensors=len(theirs.addresses) - len(found.left),
        of_tensors=len(theirs.addresses),
        fields=of_fields - len(constants),
        of_fields=of_fields,
        ties=ties,
        unexplained=tuple(address.key for address in found.left),
        dropped=tuple(dict.fromkeys(address.key for address in found.free)),
        constants=constants,
        differences=tuple(differences),
        problems=problems,
    )


def _checked(text: str, source: Path, target: Sample) -> tuple[list[str], tuple[Problem, ...]]:
    with tempfile.TemporaryDirectory(prefix="mapengine-infer-") as place:
        path = Path(place) / "inferred.yaml"
        path.write_text(text, encoding="utf-8")
        return check(path, source, target.checkpoint)


def _headed(text: str, ties: Sequence[str], unmatched: Sequence[Address]) -> str:
    """The file with what is not certain told at its head."""
    lines = ["# Inferred from an example by `mapengine infer`: what the data say, and no more."]
    lines += [f"# A tie, which the data do not settle: {tie}" for tie in ties]
    lines += [f"# Not explained: {address.key}" for address in unmatched]
    return "\n".join([*lines, text])
