"""Whether a folder is what its mapping makes of its source: every byte is made again. No disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mapengine.binding.names import Settings
from mapengine.checkpoints import storage
from mapengine.checkpoints.folder import take_inventory
from mapengine.checkpoints.gather import Reader
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.sources import SourceFiles
from mapengine.errors import MapengineError, Problem
from mapengine.executors import EXECUTORS, default_workers
from mapengine.locations import Location
from mapengine.planning.budget import DEFAULT_MEMORY, Budget
from mapengine.planning.layouts import choose_layout
from mapengine.planning.pieces import pieces
from mapengine.planning.plan import Options, Plan, PlannedTensor, make_plan
from mapengine.specs import ADAPTER_CONFIG, RECEIPT, StoredTensor
from mapengine.verification.back import Told, told_by
from mapengine.verification.check import Check
from mapengine.verification.subject import Subject

_NAME = "every byte is what the mapping makes of the source"
_SHOWN = 20


def check_again(subject: Subject, source: Location) -> Check:
    """Makes every tensor again, piece by piece, and compares it with the one in the folder."""
    if RECEIPT not in subject.folder.names:
        return Check(_NAME, skipped=f"there is no {RECEIPT}; mapengine did not write this folder")
    try:
        receipt = subject.folder.read_json(RECEIPT)
        told = told_by(receipt)
        if isinstance(told, Problem):
            return Check(_NAME, (told,))
        if receipt.get("after") or ADAPTER_CONFIG in subject.folder.names:
            return Check(_NAME, skipped="more than one mapping, or one checkpoint, made it")
        folder = SourceFolder(source, subject.folder.follow_links)
        plan = _planned(told, receipt["options"], folder)
        findings = tuple(_differences(plan, folder, subject))
    except MapengineError as error:
        return Check(_NAME, error.problems)
    count = sum(len(shard.tensors) for shard in plan.shards)
    return Check(_NAME, findings, f"{count:,} tensors, {plan.bytes_written:,} bytes")


def _planned(told: Told, options: Any, source: SourceFolder) -> Plan:
    """The plan of the run that wrote the folder, on the source as it is now."""
    side = told.mapping.sides[told.read]
    settings = Settings(dict(told.values), options.get("preset"), options.get("dtype"))
    inventory = take_inventory(source.path, told.mapping, side, follow_links=source.follow_links)
    binding = choose_layout(
        told.mapping, inventory, settings, frozenset(told.layout), told.read
    )  # fmt: skip
    select = tuple(options.get("select", ()))
    return make_plan(binding, Options(options.get("format"), options["max_shard_size"], select))


def _differences(plan: Plan, source: SourceFolder, subject: Subject) -> Iterator[Problem]:
    there = {
        key: stored
        for file in subject.folder.files.values()
        for key, stored in file.tensors.items()
    }
    planned = [tensor for shard in plan.shards for tensor in shard.tensors]
    for tensor in planned:
        if tensor.key not in there:
            yield Problem("ME731", f"{tensor.key} is missing", help=f"{plan.mapping.name} makes it")
        elif there[tensor.key].spec != tensor.spec:
            found, wanted = there[tensor.key].spec, tensor.spec
            yield Problem("ME733", f"{tensor.key} is {found}, and {wanted} is made of the source")
    same = [tensor for tensor in planned if tensor.key in there]
    same = [tensor for tensor in same if there[tensor.key].spec == tensor.spec]
    yield from _other_bytes(same, there, plan, source, subject)


def _other_bytes(
    tensors: list[PlannedTensor],
    there: dict[str, StoredTensor],
    plan: Plan,
    source: SourceFolder,
    subject: Subject,
) -> Iterator[Problem]:
    budget, workers = plan.budget(default_workers(), DEFAULT_MEMORY)
    with (
        SourceFiles(source, plan.stored) as files,
        SourceFiles(subject.source, subject.folder.files) as folder,
    ):
        reader = Reader(files.opened, budget)

        def compare(tensor: PlannedTensor) -> int:
            return sum(_other(tensor, there[tensor.key], reader, folder, budget))

        counts = EXECUTORS["local"](compare, tensors, workers)
        wrong = [(t, count) for t, count in zip(tensors, counts, strict=True) if count]
    for tensor, count in wrong[:_SHOWN]:
        file = there[tensor.key].location.file
        message = f"{tensor.key} in {file}: {count:,} of {tensor.spec.nbytes:,} bytes are others"
        yield Problem("ME715", message, tensor.rule.where)
    if len(wrong) > _SHOWN:
        yield Problem("ME715", f"{len(wrong) - _SHOWN:,} more tensors have other bytes")


def _other(
    tensor: PlannedTensor, stored: StoredTensor, reader: Reader, folder: SourceFiles, budget: Budget
) -> Iterator[int]:
    """How many bytes of each piece are not those in the folder."""
    for piece in pieces(tensor.content, budget) if tensor.spec.nbytes else ():
        size = piece.content.spec.nbytes
        found = np.empty(size, np.uint8)
        with folder.opened(stored.location.file) as file:
            at = stored.location.offset + piece.offset
            storage.read_at(file, at, found.data)
        with reader.gathering(size, 0) as room:
            reader.make(piece.content, room)
            yield int(np.count_nonzero(room.view(np.uint8) != found))
