"""What became of everything that is read: used, left behind by name, or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapengine.fold import fold
from mapengine.language.mapping import Rule
from mapengine.planning.survey import Survey
from mapengine.report.page.configs import FieldView, config_keys

MOST_LISTED = 200
"""How many folded keys a list shows."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what is read. `kind` is `used`, `carried`, `ignored`, `left` or `missing`."""

    kind: str
    title: str
    count: int
    listed: list[tuple[str, int]]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Cover:
    """All of one sort of thing, by what became of it."""

    title: str
    parts: list[Part]

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts if part.kind != "missing")


def covers(survey: Survey, fields: Sequence[FieldView]) -> list[Cover]:
    return [_tensors(survey), _config(survey, fields), _files(survey)]


def _tensors(survey: Survey) -> Cover:
    binding = survey.binding
    unused = [*survey.unused]
    beside = _beside_root(survey)
    missing = [key for key, rank in survey.used if (key, rank) not in binding.tensors]
    left_out = survey.plan.left_out if survey.plan else ()
    checked = {one.key for one in left_out if one.rule.constant is not None}
    used = [key for key, rank in binding.tensors if (key, rank) in survey.used]
    return Cover("Tensors", _some(
        _part("used", "taken by a rule", [key for key in used if key not in checked]),
        _part("carried", "checked, and not written", [key for key in used if key in checked]),
        _part("ignored", "left behind by name", [key for key, by_name in unused if by_name]),
        _part("ignored", "beside the checkpoint's root", beside),
        _part("left", "taken by no rule", [key for key, by_name in unused if not by_name]),
        _part("missing", "wanted, and not there", sorted(missing)),
    ))  # fmt: skip


def _beside_root(survey: Survey) -> list[str]:
    """What lies in the files that is no part of the checkpoint."""
    binding = survey.binding
    root, files = binding.read.root_in(binding.layout), binding.names.inventory.files
    return [
        key for file in binding.files for key in files[file.name].tensors
        if not key.startswith(root)
    ]  # fmt: skip


def _config(survey: Survey, fields: Sequence[FieldView]) -> Cover:
    keys = config_keys(survey.binding, fields)
    return Cover("Config keys", _some(
        _part("used", "read by a field", keys.read),
        _part("carried", "carried as they are", keys.carried),
        _part("ignored", "left behind by name", keys.ignored),
        _part("left", "read by no field", keys.left),
    ))  # fmt: skip


def _files(survey: Survey) -> Cover:
    binding = survey.binding
    inventory = binding.names.inventory
    tensors = [file.name for file in binding.files]
    main = binding.read.config_file(binding.layout)
    named = {p.file for f in binding.mapping.fields.values()
             for p in f.paths(binding.read.name, binding.layout) if p.file}  # fmt: skip
    configs = [n for n in {*named, *([main.file] if main else [])} if n in inventory.names]
    copied = survey.plan.companions if survey.plan else []
    used = {*tensors, *configs, *copied}
    return Cover("Files", _some(
        _part("used", "tensor files", tensors),
        _part("used", "configs", sorted({*configs} - {*tensors})),
        _part("carried", "copied as they are", sorted(copied)),
        _part("ignored", "not looked at", sorted(inventory.names - used)),
    ))  # fmt: skip


def _part(kind: str, title: str, keys: Sequence[str]) -> Part:
    folded = fold(keys)
    return Part(kind, title, len(keys), folded[:MOST_LISTED], max(len(folded) - MOST_LISTED, 0))


def _some(*parts: Part) -> list[Part]:
    return [part for part in parts if part.count]


def why_idle(rule: Rule, survey: Survey) -> str:
    """Why a rule does nothing here."""
    layout = survey.binding.layout
    if not rule.holds_in(layout):
        kept = next(kept for kept in rule.layouts if not any(one <= layout for one in kept))
        return f"layout {' or '.join(sorted('+'.join(sorted(one)) for one in kept))}"
    if rule.optional:
        return "optional, and none of its tensors is there"
    if rule.when:
        return f"{' and '.join(when.text for when in rule.when)} never holds"
    return "its indices have no members"
