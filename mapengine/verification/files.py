"""Index, headers, files and receipt against one another. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mapengine.checkpoints.inspection import index_problems
from mapengine.errors import MapengineError, Problem
from mapengine.specs import INDEX_SUFFIX, RECEIPT
from mapengine.verification.check import Check
from mapengine.verification.hashes import hash_problems
from mapengine.verification.subject import SINGLES, Subject, is_part


def check_files(subject: Subject) -> Check:
    folder = subject.folder
    findings = [*folder.problems, *index_problems(folder)]
    findings += [*_set_problems(subject), *_total_problems(subject), *_metadata_problems(subject)]
    tensors = sum(len(file.tensors) for file in folder.files.values())
    detail = f"{_count(tensors, 'tensor')} in {_count(len(folder.files), 'file')}"
    found = tuple(dict.fromkeys([*findings, *subject.strays]))
    return Check("index, headers and files agree", found, detail)


def check_receipt(subject: Subject) -> Check:
    name = "files have the sizes that the receipt says"
    if RECEIPT not in subject.folder.names:
        return Check(name, skipped=f"there is no {RECEIPT}; mapengine did not write this folder")
    try:
        receipt = subject.folder.read_json(RECEIPT)
    except MapengineError as error:
        return Check(name, error.problems)
    files = receipt.get("files") if isinstance(receipt, dict) else None
    if not isinstance(files, dict):
        return Check(name, (Problem("ME711", f"{RECEIPT} lists no files and sizes"),))
    findings, told = list(_receipt_problems(subject, files)), receipt.get("sha256")
    detail = _count(len(files), "file")
    if told is not None and not findings:
        try:
            findings, detail = hash_problems(subject, told), f"{detail}, and the SHA-256"
        except MapengineError as error:
            findings = list(error.problems)
    return Check(name, tuple(findings), detail)


def _set_problems(subject: Subject) -> Iterator[Problem]:
    """Not exactly one checkpoint in the folder."""
    folder, roots = subject.folder, subject.roots
    if not folder.files and not folder.problems and not roots:
        yield Problem("ME701", "there is no tensor file in the folder")
    if len(roots) > 1:
        message = f"{', '.join(roots)} are each a checkpoint; transformers loads {roots[0]}"
        yield Problem("ME702", message, help="keep one of them in the folder")
    for single in SINGLES:
        parts = [name for name in subject.parts if is_part(name, [single])]
        index = single + INDEX_SUFFIX
        if parts and index not in folder.names:
            more = f" and {_count(len(parts) - 1, 'more shard')}" if len(parts) > 1 else ""
            yield Problem("ME703", f"{parts[0]}{more}, but no {index} that names them")
        elif index in folder.indexes:
            yield from _idle_problems(subject, index, parts)


def _idle_problems(subject: Subject, index: str, parts: list[str]) -> Iterator[Problem]:
    """What the index check, which goes by tensors, has no words for."""
    listed, files = subject.folder.listed(index), subject.folder.files
    value = subject.folder.indexes[index]
    if isinstance(value, dict) and value.get("weight_map") == {}:
        yield Problem("ME703", f"{index} names no file")
    for name in parts:
        if name not in listed and name in files and not files[name].tensors:
            yield Problem("ME703", f"{index} does not name {name}, which is empty")


def _total_problems(subject: Subject) -> Iterator[Problem]:
    """Totals of an index that its shards' headers do not add up to."""
    files = subject.folder.files
    for name, index in subject.folder.indexes.items():
        metadata = index.get("metadata") if isinstance(index, dict) else None
        listed = subject.folder.listed(name)
        if not isinstance(metadata, dict) or not listed or not listed <= files.keys():
            continue
        specs = [stored.spec for file in listed for stored in files[file].tensors.values()]
        totals = {
            "total_size": sum(spec.nbytes for spec in specs),
            "total_parameters": sum(spec.numel for spec in specs),
        }
        for word, found in totals.items():
            if word in metadata and metadata[word] != found:
                told = _short(metadata[word])
                yield Problem("ME704", f"{name} has {word} {told}, its files hold {found:,}")


def _metadata_problems(subject: Subject) -> Iterator[Problem]:
    """Some versions of transformers refuse safetensors files that do not say `format: pt`."""
    lacking = [
        name
        for name in subject.shards
        if name in subject.folder.files
        and name.endswith(".safetensors")
        and subject.folder.files[name].metadata.get("format") != "pt"
    ]
    if lacking:
        more = f" and {_count(len(lacking) - 1, 'more file')}" if len(lacking) > 1 else ""
        yield Problem("ME705", f"{lacking[0]}{more}: the metadata does not say 'format': 'pt'")


def _receipt_problems(subject: Subject, files: dict[str, Any]) -> Iterator[Problem]:
    for name, size in files.items():
        if name not in subject.folder.names:
            yield Problem("ME712", f"{name} is missing: {RECEIPT} lists it")
            continue
        found = (subject.path / name).stat().st_size
        if found != size:
            yield Problem("ME713", f"{name} has {found:,} bytes, {RECEIPT} says {_short(size)}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(value: Any) -> str:
    return f"{value:,}" if type(value) is int else repr(value)[:40]
