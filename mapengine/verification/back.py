"""Whether the mapping in the receipt could take the folder back where it came from. No torch."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Any

from mapengine.binding.names import Settings
from mapengine.checkpoints.folder import take_inventory
from mapengine.errors import MapengineError, MappingError, Problem
from mapengine.language.document import read_document
from mapengine.language.mapping import SIDES, Mapping
from mapengine.language.reading import read_mapping
from mapengine.planning.checks import check_mapping
from mapengine.planning.layouts import choose_layout
from mapengine.planning.lints import irreversible
from mapengine.planning.plan import make_plan
from mapengine.specs import ADAPTER_CONFIG, RECEIPT
from mapengine.verification.check import Check
from mapengine.verification.subject import SELECTION, Subject

_NAME = "every tensor and config key fits the mapping, the other way round"


def check_back(subject: Subject) -> Check:
    """Plans the opposite of the run that wrote the folder: keys, shapes and config must all fit."""
    if ADAPTER_CONFIG in subject.folder.names:
        return Check(_NAME, skipped="it is an adapter, and no checkpoint")
    if subject.is_selection:
        return Check(_NAME, skipped=SELECTION)
    if RECEIPT not in subject.folder.names:
        return Check(_NAME, skipped=f"there is no {RECEIPT}; mapengine did not write this folder")
    try:
        told = told_by(subject.folder.read_json(RECEIPT))
        if isinstance(told, Problem):
            return Check(_NAME, (told,))
        mapping, side = told.mapping, next(name for name in SIDES if name != told.read)
        if side == "target" and (one_way := _one_way(mapping)):
            return Check(_NAME, skipped=f"{one_way.where}: {one_way.message}")
        values = {k: v for k, v in told.values.items() if not _is_told(mapping, k, side)}
        inventory = take_inventory(
            subject.folder.path,
            mapping,
            mapping.sides[side],
            follow_links=subject.folder.follow_links,
        )
        layout = frozenset(told.layout)
        plan = make_plan(choose_layout(mapping, inventory, Settings(values), layout, side))
    except MapengineError as error:
        return Check(_NAME, error.problems)
    count = sum(len(shard.tensors) for shard in plan.shards)
    return Check(_NAME, detail=f"{count:,} tensors by {mapping.name}")


@dataclass(frozen=True, slots=True)
class Told:
    """What a receipt says of the run: its mapping, the side that was read, layout, values set."""

    mapping: Mapping
    read: str
    layout: list[str]
    values: AnyMapping[str, Any]


def told_by(receipt: Any) -> Told | Problem:
    """What a receipt says, or what is wrong with it. Raises `MappingError`."""
    none = Problem("ME711", f"{RECEIPT} names no mapping and direction")
    if not isinstance(receipt, dict):
        return none
    mapping, read, layout = (receipt.get(word) for word in ("mapping", "reads", "layout"))
    options = receipt.get("options")
    text = mapping.get("text") if isinstance(mapping, dict) else None
    values = options.get("set") if isinstance(options, dict) else None
    if not isinstance(text, str) or read not in SIDES or not isinstance(values, dict):
        return none
    if not isinstance(layout, list) or not all(isinstance(name, str) for name in layout):
        return none
    loaded = read_mapping(read_document(text, RECEIPT))
    if problems := check_mapping(loaded):
        raise MappingError(*problems)
    return Told(loaded, read, layout, values)


def _one_way(mapping: Mapping) -> Problem | None:
    return next((problem for problem in irreversible(mapping) if problem.code == "ME330"), None)


def _is_told(mapping: Mapping, name: str, side: str) -> bool:
    """Whether a file of the side says the value of a name."""
    return name in mapping.fields and bool(mapping.fields[name].places[side].entries)
