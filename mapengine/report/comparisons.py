"""What is not the same of two checkpoints, or of two mappings, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mapengine.binding.config_values import told
from mapengine.comparison.headers import MISSING, ConfigChange, HeaderDiff, TensorGroup
from mapengine.comparison.mappings import Made, MappingDiff, SaidChange, TargetChange
from mapengine.comparison.saying import Said
from mapengine.errors import Where, printable
from mapengine.fold import fold
from mapengine.specs import TensorSpec

if TYPE_CHECKING:
    from mapengine.comparison.values import ValueDiff

_SHOWN = 10
"""How many of the tensors whose values differ are listed, the worst first."""


# -- checkpoints ----------------------------------------------------------------------------------


def headers_text(diff: HeaderDiff) -> str:
    """`-` is of the first alone, `+` of the second, `~` of both and not the same."""
    lines = [*map(_group, diff.tensors), *map(_config, diff.configs)]
    lines.append(f"{_count(diff.same, 'tensor')} alike by key, shape and dtype")
    return printable("\n".join(lines))


def _group(group: TensorGroup) -> str:
    count = f"  ×{group.count}" if group.count > 1 else ""
    if group.one is None or group.other is None:
        mark = "+" if group.one is None else "-"
        return f"{mark} {group.keys}{count}  {group.one or group.other}"
    return f"~ {group.keys}{count}  {group.one} → {group.other}"


def _config(change: ConfigChange) -> str:
    place = f"{change.file}: {change.path}" if change.path else change.file
    if change.one is MISSING:
        return f"+ {place} = {told(change.other)}"
    if change.other is MISSING:
        return f"- {place} = {told(change.one)}"
    return f"~ {place} = {told(change.one)} → {told(change.other)}"


def values_text(diffs: Sequence[ValueDiff]) -> str:
    """The worst tensors, and how many there are of which kind."""
    apart = sorted((d for d in diffs if d.differing), key=_badness)
    lines = [_value(diff) for diff in apart[:_SHOWN]]
    rest = fold(diff.key for diff in apart[_SHOWN:])
    lines += [f"  and {keys}" + (f"  ×{n}" if n > 1 else "") for keys, n in rest[:_SHOWN]]
    beyond, bits = sum(bool(d.beyond) for d in diffs), sum(_only_bits(d) for d in diffs)
    lines.append(
        f"values of {_count(len(diffs), 'tensor')}: {len(diffs) - len(apart)} equal"
        + (f" ({bits} of them with other bits)" if bits else "")
        + f", {len(apart) - beyond} within the tolerance, {beyond} beyond it"
    )
    return printable("\n".join(lines))


def _badness(diff: ValueDiff) -> tuple[bool, float, str]:
    return not diff.beyond, -diff.largest, diff.key


def _only_bits(diff: ValueDiff) -> bool:
    return diff.other_bits and not diff.differing


def _value(diff: ValueDiff) -> str:
    mark = "~" if diff.beyond else "≈"
    count = f"{diff.beyond or diff.differing:,} of {diff.elements:,} elements"
    at = f" at {list(diff.at)}" if diff.at else ""
    one, other = diff.values
    apart = f"at most {diff.largest:.6g} apart{at}: {one:.9g} and {other:.9g}"
    return f"{mark} {diff.key}  {count}, {apart}; {diff.relative:.3g} relative"


# -- mappings -------------------------------------------------------------------------------------


def mappings_text(diff: MappingDiff) -> str:
    lines = list(map(_said, diff.said))
    for change in diff.targets:
        lines += _target(change)
    alike = f"{_count(diff.same, 'target')} made alike in {_count(diff.layouts, 'layout')}"
    lines.append(alike if diff.layouts else "no layout has one name in both: no targets compared")
    return printable("\n".join(lines))


def _said(change: SaidChange) -> str:
    one, other = change.one, change.other
    if one is None:
        return f"+ {change.name}: {_at(other)}"
    if other is None:
        return f"- {change.name}: {_at(one)}"
    return f"~ {change.name}: {_at(one)} → {_at(other)}"


def _at(said: Said | None) -> str:
    if said is None:
        return ""
    return f"{said.text} (line {said.where.line})" if said.where else said.text


def _target(change: TargetChange) -> Iterator[str]:
    count = f"  ×{change.count}" if change.count > 1 else ""
    mark = "+" if change.one is None else "-" if change.other is None else "~"
    yield f"{mark} {change.keys}{count}"
    if any(change.layouts):
        yield f"    in {', '.join(change.layouts[:3])}{_more(change.layouts, 3)}"
    for side, made in (("-", change.one), ("+", change.other)):
        if made is not None:
            yield f"    {side} {_made(made)}  (line {made.where.line})"
    if change.one and change.other and _made(change.one) == _made(change.other):
        yield "      the same tensors and ops, but other elements of them: their order differs"


def _made(made: Made) -> str:
    sources = ", ".join(keys for keys, _ in fold(made.sources)) or "nothing"
    ops = f": {'; '.join(made.ops)}" if made.ops else ""
    optional = ", optional" if made.optional else ""
    return f"{sources}{ops} → {made.spec}{optional}"


def _more(listed: Sequence[str], shown: int) -> str:
    return f" and {len(listed) - shown} more" if len(listed) > shown else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- JSON -----------------------------------------------------------------------------------------


def headers_dict(diff: HeaderDiff) -> dict[str, Any]:
    return {
        "tensors": [
            {
                "keys": group.keys,
                "count": group.count,
                "one": _spec_dict(group.one),
                "other": _spec_dict(group.other),
            }
            for group in diff.tensors
        ],
        "config": [
            {
                "file": change.file,
                "path": change.path,
                "there": [change.one is not MISSING, change.other is not MISSING],
                "one": None if change.one is MISSING else change.one,
                "other": None if change.other is MISSING else change.other,
            }
            for change in diff.configs
        ],
        "alike": diff.same,
    }


def _spec_dict(spec: TensorSpec | None) -> dict[str, Any] | None:
    return None if spec is None else {"dtype": spec.dtype, "shape": list(spec.shape)}


def values_dict(diffs: Sequence[ValueDiff]) -> dict[str, Any]:
    """Numbers that JSON has not, as words."""
    return {
        "compared": len(diffs),
        "beyond": sum(bool(diff.beyond) for diff in diffs),
        "tensors": [
            {
                "key": diff.key,
                "elements": diff.elements,
                "differing": diff.differing,
                "beyond": diff.beyond,
                "largest": _number(diff.largest),
                "relative": _number(diff.relative),
                "at": list(diff.at),
                "values": [_number(value) for value in diff.values],
            }
            for diff in sorted((d for d in diffs if d.differing), key=_badness)
        ],
        "other_bits": [diff.key for diff in diffs if _only_bits(diff)],
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def mappings_dict(diff: MappingDiff) -> dict[str, Any]:
    return {
        "said": [
            {"name": c.name, "one": _said_dict(c.one), "other": _said_dict(c.other)}
            for c in diff.said
        ],
        "targets": [
            {
                "keys": change.keys,
                "count": change.count,
                "layouts": list(change.layouts),
                "one": _made_dict(change.one),
                "other": _made_dict(change.other),
            }
            for change in diff.targets
        ],
        "alike": diff.same,
        "layouts": diff.layouts,
    }


def _said_dict(said: Said | None) -> dict[str, Any] | None:
    return None if said is None else {"text": said.text, **_where(said.where)}


def _made_dict(made: Made | None) -> dict[str, Any] | None:
    if made is None:
        return None
    return {
        "sources": list(made.sources),
        "ops": list(made.ops),
        **(_spec_dict(made.spec) or {}),
        "optional": made.optional,
        **_where(made.where),
    }


def _where(where: Where | None) -> dict[str, Any]:
    return {"file": where.file if where else None, "line": where.line if where else None}
