"""What a checkpoint holds, and what was found in checking it, as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mapengine.errors import on_one_line, one_line
from mapengine.report.problems import problem_dict, problem_text
from mapengine.report.units import size_text

if TYPE_CHECKING:
    from mapengine.checkpoints.inspection import Inspection
    from mapengine.verification.check import Check

_WIDTH = 160
_METADATA_SHOWN = 8


def inspection_text(seen: Inspection) -> str:
    """Files, keys folded by shape and dtype, and totals."""
    width = max((len(group.keys) for group in seen.groups), default=0)
    lines = [f"{seen.folder}: {_total(seen.total)}", ""]
    for file in seen.files:
        name = on_one_line(file.name, _WIDTH)
        lines.append(f"  {name}  {file.format} · {file.tensors} tensors · "
                     f"{size_text(file.size)}{_metadata(file.metadata)}")  # fmt: skip
        lines += [f"      note: {note}" for note in file.notes]
        lines += [
            f"      {on_one_line(f'{path} = {value}', _WIDTH)}" for path, value in file.objects
        ]
    lines.append("")
    for group in seen.groups:
        count = f"×{group.count}" if group.count > 1 else ""
        spec = f"{group.dtype} {list(group.shape)}"
        lines.append(f"  {group.keys.ljust(width)}  {count:>6}  {spec}  {size_text(group.bytes)}")
    lines.append("")
    lines += [f"  {dtype}: {_total(total)}" for dtype, total in seen.dtypes.items()]
    others = [*seen.configs, *seen.indexes]
    if others:
        lines.append(f"  beside them: {', '.join(others)}")
    return "\n".join(map(one_line, lines))


def _metadata(metadata: Mapping[str, str]) -> str:
    """The first of what a file says of itself: some say a great deal."""
    told = [f" · {on_one_line(f'{key}: {value}', _WIDTH)}" for key, value in metadata.items()]
    more = len(told) - _METADATA_SHOWN
    return "".join(told[:_METADATA_SHOWN]) + (f" · and {more} more" if more > 0 else "")


def _total(total: Any) -> str:
    return f"{total.tensors} tensors · {total.parameters:,} parameters · {size_text(total.bytes)}"


def checks_text(checks: Sequence[Check]) -> str:
    """A line for each check, and below it what it found."""
    lines = []
    for check in checks:
        mark = "✗" if check.findings else "-" if check.skipped else "✓"
        detail = check.skipped or check.detail
        lines.append(f"{mark} {check.name}" + (f": {detail}" if detail else ""))
        for finding in check.findings:
            lines += [f"    {line}" for line in problem_text(finding).splitlines()]
    bad = sum(bool(check.findings) for check in checks)
    skipped = sum(bool(check.skipped) for check in checks)
    good = f"{len(checks) - bad - skipped} of {len(checks)} checks passed"
    beside = f", {bad} failed" * bool(bad) + f", {skipped} did not run" * bool(skipped)
    lines.append(good + beside)
    return "\n".join(map(one_line, lines))


def check_dict(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": not check.findings and not check.skipped,
        "skipped": check.skipped or None,
        "detail": check.detail,
        "findings": [problem_dict(finding) for finding in check.findings],
    }
