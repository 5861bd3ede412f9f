"""Keys that are missing, unexpected or of another shape, as few findings: folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mapengine.errors import Problem
from mapengine.fold import fold
from mapengine.specs import TensorSpec
from mapengine.verification.expected_keys import ExpectedKeys

_LINES = 12


def differences(
    expected: ExpectedKeys, specs: dict[str, TensorSpec], ignored: Callable[[str], bool]
) -> Iterator[Problem]:
    """The keys and shapes of a checkpoint that are not those of its class."""
    shapes = expected.shapes
    missing = [key for key in shapes if key not in specs and key not in expected.tied]
    extra = [key for key in specs if key not in shapes and not ignored(key)]
    yield from _folded("ME731", "MISSING", ((key, "") for key in sorted(missing)))
    yield from _folded("ME732", "UNEXPECTED", ((key, "") for key in sorted(extra)))
    yield from _folded(
        "ME733",
        "MISMATCH",
        (
            (key, f": {list(specs[key].shape)}, the class has {list(shape)}")
            for key, shape in sorted(shapes.items())
            if key in specs and specs[key].shape != shape
        ),
    )


def reported(info: dict[str, Any]) -> Iterator[Problem]:
    """What a loading report lists."""
    for word in ("missing", "unexpected"):
        keys = sorted(info.get(f"{word}_keys") or ())
        yield from _folded("ME742", f"from_pretrained reports {word}", ((key, "") for key in keys))
    wrong = sorted(map(_mismatch, info.get("mismatched_keys") or ()))
    yield from _folded("ME742", "from_pretrained reports mismatched", wrong)
    for message in list(info.get("error_msgs") or ())[:_LINES]:
        yield Problem("ME742", f"from_pretrained reports: {str(message)[:200]}")


def _mismatch(entry: Any) -> tuple[str, str]:
    """Key and remark; not every version of transformers tells the shapes."""
    if isinstance(entry, str):
        return entry, ""
    key, found, wanted = entry
    return key, f": {list(found)}, the class has {list(wanted)}"


def _folded(code: str, word: str, keys: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """One problem for keys that differ in numbers alone and share what is said of them."""
    groups: dict[str, list[str]] = {}
    for key, remark in keys:
        groups.setdefault(remark, []).append(key)
    lines = [(f"{p}{remark}", n) for remark, same in groups.items() for p, n in fold(same)]
    shown = lines if len(lines) <= _LINES + 1 else lines[:_LINES]
    for text, count in shown:
        yield Problem(code, f"{word} {text}" + (f" ({count} tensors)" if count > 1 else ""))
    if len(lines) > _LINES + 1:
        yield Problem(code, f"{word} in {len(lines) - _LINES} more groups of keys")
