"""The checkpoint against its config, its model class and its loading, as transformers has them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mapengine.errors import Problem
from mapengine.specs import DTYPES
from mapengine.verification.check import Check
from mapengine.verification.differences import differences, reported
from mapengine.verification.expected_keys import expected_keys
from mapengine.verification.oracle import (
    available_memory,
    is_v5,
    loading_info,
    passed_over,
    quiet,
    sentence,
)
from mapengine.verification.subject import CONFIG, Subject

_WITHOUT_DATA = "; with `pip install 'mapengine[verify]'` the largest file is enough"
_DTYPE_WORDS = ("dtype", "torch_dtype")


def check_config(subject: Subject) -> Check:
    """config.json loads, names a class that is known, and the dtype that the tensors are."""
    name = "config.json says what transformers needs"
    if subject.is_selection:
        return Check(name, skipped=subject.unreadable)
    if not subject.roots and not subject.parts and CONFIG not in subject.folder.names:
        return Check(name, skipped=subject.unreadable)
    if isinstance(subject.config, Problem):
        return Check(name, (subject.config,))
    findings = list(_dtype_problems(subject))
    if isinstance(subject.model_class, Problem):
        return Check(name, (*findings, subject.model_class))
    found, meant = subject.model_class.__name__, subject.meant_for
    if meant and found != meant:
        findings.append(Problem("ME723", f"config.json names {found}, the mapping is for {meant}"))
    dtype = next((told for _, told in _dtypes(subject)), "no dtype named")
    return Check(name, tuple(findings), f"{subject.model_class.__name__}, {dtype}")


def check_class(subject: Subject) -> Check:
    """Keys and shapes are those the model class saves."""
    name = "keys and shapes are those of the model class"
    reason = not_askable(subject)
    if reason:
        return Check(name, skipped=reason)
    specs = subject.specs
    with quiet():
        try:
            model = subject.model
            expected = expected_keys(model)
        except Exception as error:  # whatever a model class may raise
            message = f"{subject.model_class.__name__} cannot be made of config.json"
            return Check(name, (Problem("ME734", f"{message}: {sentence(error)}"),))
    findings = tuple(differences(expected, specs, passed_over(model)))
    return Check(name, findings, f"{len(specs):,} keys of {subject.model_class.__name__}")


def check_load(subject: Subject) -> Check:
    """`from_pretrained` loads the checkpoint and has nothing to report."""
    name = "from_pretrained has nothing to report"
    reason = "" if subject.load else "not asked for"
    reason = reason or not_askable(subject)
    if reason:
        return Check(name, skipped=reason)
    size = sum(spec.nbytes for spec in subject.specs.values())
    needed, free = max(size, _model_size(subject)), available_memory()
    fits = needed < free / 2
    if not fits and not _loads_without_data(subject, free):
        message = f"{needed:,} bytes are more than half of the free memory"
        return Check(name, skipped=message + _WITHOUT_DATA)
    with quiet():
        try:
            path = subject.path
            info = loading_info(subject.model_class, subject.config, path, on_meta=not fits)
        except Exception as error:  # whatever from_pretrained may raise
            told = sentence(error).split(" For details look")[0]
            message = f"{subject.model_class.__name__}.from_pretrained fails: {told}"
            return Check(name, (Problem("ME741", message),))
    detail = f"{size:,} bytes loaded" if fits else "loaded without the data"
    return Check(name, tuple(reported(info)), detail)


def _model_size(subject: Subject) -> int:
    """The bytes its class takes for the model; what the files lack is made all the same."""
    dtypes = [DTYPES[spec.dtype] for spec in subject.specs.values()]
    itemsize = max((dtype.size for dtype in dtypes if dtype.floating), default=4)
    with quiet():
        try:
            return itemsize * sum(int(tensor.numel()) for tensor in subject.model.parameters())
        except Exception:  # the check of the class tells
            return 0


def _loads_without_data(subject: Subject, free: int) -> bool:
    """Whether transformers can make its report from headers; it maps one file at a time."""
    largest = max(subject.folder.files[name].size for name in subject.shards)
    return is_v5() and find_spec("accelerate") is not None and largest < free


def not_askable(subject: Subject) -> str:
    """Why there is no model to compare with, or nothing."""
    if subject.unreadable:
        return subject.unreadable
    if isinstance(subject.config, Problem):
        return "there is no good config.json"
    if isinstance(subject.model_class, Problem):
        return "the model class is not known"
    if getattr(subject.config, "quantization_config", None):
        return "the checkpoint is quantized; its keys are not those of the class"
    return ""


def _dtypes(subject: Subject) -> list[tuple[str, Any]]:
    """What config.json says the tensors are, and in which field."""
    written = subject.written if isinstance(subject.written, dict) else {}
    return [(word, written[word]) for word in _DTYPE_WORDS if written.get(word) is not None]


def _dtype_problems(subject: Subject) -> Iterator[Problem]:
    floating = {s.dtype for s in subject.specs.values() if DTYPES[s.dtype].floating}
    for word, told in _dtypes(subject):
        if floating and told not in floating:
            found = " and ".join(sorted(floating))
            yield Problem("ME724", f"config.json has {word} {told!r}, the tensors are {found}")
