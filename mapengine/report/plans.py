"""A plan as a table folded by rule, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mapengine.errors import one_line
from mapengine.fold import fold
from mapengine.language.expressions import Expression
from mapengine.language.mapping import SIDES, OpCall, Rule
from mapengine.planning.plan import Plan
from mapengine.report.units import size_text
from mapengine.specs import TensorSpec

FORMAT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of a plan: what all the tensors it makes have in common. `nbytes` is their sum."""

    rule: Rule
    count: int
    shapes: tuple[str, ...]
    dtypes: tuple[str, ...]
    nbytes: int


def plan_rows(plan: Plan) -> list[Row]:
    """The rules that make something, in the order of the file."""
    made: dict[str, Counter[TensorSpec]] = {}
    for tensor in plan.tensors:
        made.setdefault(tensor.rule.path, Counter())[tensor.spec] += 1
    return [_row(rule, made[rule.path]) for rule in plan.mapping.rules if rule.path in made]


def _row(rule: Rule, specs: Counter[TensorSpec]) -> Row:
    return Row(
        rule,
        specs.total(),
        tuple(dict.fromkeys(f"[{', '.join(map(str, spec.shape))}]" for spec in specs)),
        tuple(dict.fromkeys(spec.dtype for spec in specs)),
        sum(spec.nbytes * count for spec, count in specs.items()),
    )


def plan_text(plan: Plan, working_memory: int) -> str:
    """The table a person reads: each rule with its count, shape, dtype, ops and bytes."""
    scopes, cells = plan_cells(plan)
    table = _aligned([HEADINGS, *cells], right={0, 4, 7})
    lines = [*titles(plan), f"  {indices(plan)}", "", table[0]]
    for line, scope, before in zip(table[1:], scopes, [("", ""), *scopes], strict=False):
        if scope != before:
            lines.append(f"      {scope[0]} → {scope[1]}")
        lines.append(line)
    return "\n".join(map(one_line, [*lines, "", *totals(plan, working_memory)]))


def plan_cells(plan: Plan) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Of every rule that makes something: what stands before its keys on either side; its row."""
    sides = plan.binding.read.name, plan.binding.write.name
    rows = plan_rows(plan)
    return [_scopes(row.rule, sides) for row in rows], [_cells(row, sides) for row in rows]


def titles(plan: Plan) -> list[str]:
    """A line for each mapping that what is read goes through."""
    before = titles(plan.after) if plan.after else []
    back = "" if plan.binding.read.name == "source" else ", backwards"
    then = "then " if before else ""
    of = f", {plan.subject}" if plan.subject != Plan.subject else ""
    return [*before, f"{then}{plan.mapping.name}: {plan.mapping.title}{back}{of}"]


HEADINGS = ("LINE", "SOURCE", "", "TARGET", "×", "SHAPE", "DTYPE", "BYTES", "OPS")


def _scopes(rule: Rule, sides: Sequence[str]) -> tuple[str, ...]:
    """What stands before a rule's keys, on the side that is read and on the other."""
    return tuple(rule.scope[SIDES.index(side)] for side in sides)


def _cells(row: Row, sides: Sequence[str]) -> tuple[str, ...]:
    """A rule as a row, its keys without what its scope puts before them."""
    taken, made = (
        ", ".join(p.text.removeprefix(scope) for p in row.rule.keys(side))
        for side, scope in zip(sides, _scopes(row.rule, sides), strict=True)
    )
    return (
        str(row.rule.where.line),
        taken,
        "→",
        made,
        str(row.count),
        _some(row.shapes),
        _some(row.dtypes),
        size_text(row.nbytes),
        str(row.rule.constant) if row.rule.constant else "; ".join(_ops(row.rule, sides)),
    )


def _ops(rule: Rule, sides: Sequence[str]) -> list[str]:
    """The ops in the order in which they are done, in the words of the file."""
    if sides[0] == "source":
        return [call_text(call) for call in rule.ops]
    return [f"undo {call_text(call)}" for call in reversed(rule.ops)]


def totals(plan: Plan, working_memory: int) -> list[str]:
    """What stands below the table."""
    count = sum(len(shard.tensors) for shard in plan.shards)
    inside = [f"the config in {shard.name}" for shard in plan.shards if shard.objects]
    files = [*plan.configs, *inside[:1], *([plan.card] if plan.card else ()), *plan.companions]
    shards = f"{len(plan.shards)} {plan.format} file{'' if len(plan.shards) == 1 else 's'}"
    checked = _folded("checked, and not written", plan, unchecked=False)
    cut = _folded("cut off, whatever it is", plan, unchecked=True)
    return [
        f"{count} tensors · {size_text(plan.bytes_read)} read · "
        f"{size_text(plan.bytes_written)} written · {shards} · "
        f"working memory at most {size_text(working_memory)}",
        *([f"also: {', '.join(files)}"] if files else ()),
        *checked,
        *cut,
        _last_word(plan),
    ]


def _last_word(plan: Plan) -> str:
    if plan.options.select:
        return (
            f"a selection ({', '.join(plan.options.select)}), without a config: no model opens it"
        )
    return "every source tensor is used, every target tensor is made once"


def _folded(said: str, plan: Plan, unchecked: bool) -> list[str]:
    keys = fold(one.key for one in plan.left_out if one.unchecked == unchecked)
    return [f"{said}: {key}" + (f"  ×{count}" if count > 1 else "") for key, count in keys]


def indices(plan: Plan) -> str:
    """The layouts and the range of every index."""
    sides = [side for side in (plan.binding.read, plan.binding.write) if side.choices]
    told = [" → ".join(side.layout_name(plan.binding.layout) for side in sides)] if sides else []
    for name in plan.mapping.dims:
        values = plan.binding.names.range_of(name) or ()
        words = " ".join(map(str, values))
        told.append(
            f"{name} 0…{len(values) - 1}" if isinstance(values, range) else f"{name}: {words}"
        )
    for rank, values in (plan.binding.rank_ranges | plan.binding.written_rank_ranges).items():
        if rank not in plan.mapping.dims:
            told.append(f"{rank} 0…{len(values) - 1}")
    return " · ".join(told)


def call_text(call: OpCall) -> str:
    """`split into expert dim 0`, in the words of the YAML file."""
    told = [f"{name.rstrip('_')} {_argument(value)}" for name, value in call.arguments.items()]
    return " ".join([call.name, *told])


def _argument(value: Any) -> str:
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, tuple):
        return f"[{', '.join(map(_argument, value))}]"
    return str(value)


def _some(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more"


def _aligned(cells: Sequence[Sequence[str]], right: Iterable[int]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def plan_dict(plan: Plan, working_memory: int) -> dict[str, Any]:
    """The whole plan for JSON: rules, shards with their tensors, configs, totals in bytes."""
    return {
        "format_version": FORMAT_VERSION,
        "mapping": {"name": plan.mapping.name, "sha256": plan.mapping.sha256},
        "fingerprint": plan.fingerprint,
        "reads": plan.binding.read.name,
        "layout": sorted(plan.binding.layout),
        "format": plan.format,
        "rules": [
            {
                "path": row.rule.path,
                "file": row.rule.where.file,
                "line": row.rule.where.line,
                "sources": [p.text for p in row.rule.sources],
                "targets": [p.text for p in row.rule.targets],
                "ops": [call_text(call) for call in row.rule.ops],
                "count": row.count,
                "shapes": list(row.shapes),
                "dtypes": list(row.dtypes),
                "bytes": row.nbytes,
            }
            for row in plan_rows(plan)
        ],
        "shards": [
            {
                "name": shard.name,
                "bytes": shard.nbytes,
                "objects": dict(shard.objects),
                "tensors": [
                    {"key": t.key, "dtype": t.spec.dtype, "shape": list(t.spec.shape)}
                    for t in shard.tensors
                ],
            }
            for shard in plan.shards
        ],
        "checked": [one.key for one in plan.checks],
        "cut": [one.key for one in plan.left_out if one.unchecked],
        "configs": dict(plan.configs),
        "companions": plan.companions,
        "card": plan.card,
        "source_files": plan.source_files,
        "totals": {
            "tensors": sum(len(shard.tensors) for shard in plan.shards),
            "bytes_read": plan.bytes_read,
            "bytes_written": plan.bytes_written,
            "working_memory": working_memory,
        },
    }
