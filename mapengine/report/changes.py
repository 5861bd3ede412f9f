"""What an edit of a mapping has changed in the plan of its example."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mapengine.binding import config_values
from mapengine.errors import one_line
from mapengine.report.plans import call_text, plan_rows

if TYPE_CHECKING:
    from mapengine.planning.plan import Plan


def plan_lines(plan: Plan) -> list[str]:
    """A line for each rule and each config value, without anything that an edit merely moves."""
    lines = []
    for row in plan_rows(plan):
        ops = "; ".join(map(call_text, row.rule.ops))
        shapes, dtypes = " ".join(row.shapes), " ".join(row.dtypes)
        lines.append(f"{row.rule}  ×{row.count}  {shapes} {dtypes}  {ops}".rstrip())
    for file, config in sorted(plan.configs.items()):
        for leaf in config_values.leaves(config):
            value = config_values.told(config_values.look_up(config, leaf))
            lines.append(f"{file}: {'.'.join(leaf)} = {value}")
    return [one_line(line) for line in lines]


def changed_lines(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Those that are gone with `-`, those that are new with `+`, in the order of the file."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    lines = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            lines += [f"- {line}" for line in before[a:b]]
            lines += [f"+ {line}" for line in after[c:d]]
    return lines
