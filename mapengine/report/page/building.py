"""A survey as a page: the values its template shows, and the data its script expands."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapengine import __version__
from mapengine.errors import Problem, printable
from mapengine.planning.survey import Survey
from mapengine.report.page.configs import FieldView, field_views
from mapengine.report.page.coverage import Cover, covers, why_idle
from mapengine.report.page.rules import Piece, RuleView, RuleViews, groups
from mapengine.report.units import size_text

FORMAT_VERSION = "1.0"
_HERE = Path(__file__).parent
_SCRIPTS = ("tensors.js", "trace.js", "view.js")


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that stand in one scope."""

    taken: list[Piece]
    made: list[Piece]
    rules: list[RuleView]


@dataclass(frozen=True, slots=True)
class Passage:
    """One mapping's part of the way: from one form of the model to the next."""

    survey: Survey
    groups: list[Group]
    fields: list[FieldView]
    covers: list[Cover]
    idle: list[tuple[str, int, str]]
    indices: list[tuple[str, str]]
    sides: tuple[str, str]
    forms: tuple[str, str]
    folder: str

    @property
    def rules(self) -> list[RuleView]:
        return [rule for group in self.groups for rule in group.rules]

    @property
    def problems(self) -> Sequence[Problem]:
        return self.survey.problems


def page_html(
    surveys: Sequence[Survey], notes: Sequence[Problem] = (), memory: int | None = None
) -> str:
    """The page of a plan, or of several that follow one another; the last one is what is written.

    `notes` are what is worth knowing of the mapping, and `memory` what a run takes, in bytes.
    """
    passages, data = list[Passage](), list[dict[str, Any]]()
    for survey in surveys:
        views = RuleViews(survey, notes, sum(len(one.rules) for one in passages))
        passages.append(_passage(survey, views))
        data.append(_data(passages[-1], views))
    style, script = _asset("style.css"), "\n".join(map(_asset, _SCRIPTS))
    page: str = _environment().get_template("template.html.jinja").render(
        passages=passages, last=passages[-1], plan=surveys[-1].plan, notes=notes, memory=memory,
        file_notes=_file_notes(surveys[0]),
        problems=[problem for one in passages for problem in one.problems],
        version=__version__, style=_markup(style), script=_markup(script),
        style_hash=_csp_hash(style), script_hash=_csp_hash(script),
        data=_markup(_json({"format_version": FORMAT_VERSION, "passages": data})),
    )  # fmt: skip
    return page


def _passage(survey: Survey, views: RuleViews) -> Passage:
    binding = survey.binding
    fields = field_views(binding)
    return Passage(
        survey,
        [Group(views.scope_pieces(scope[0]), views.scope_pieces(scope[1]), rules)
         for scope, rules in groups(views.all())],
        fields,
        covers(survey, fields),
        [(str(rule), rule.where.line, why_idle(rule, survey)) for rule in survey.idle],
        [(name, _range(binding.names.range_of(name))) for name in binding.mapping.dims
         if name not in binding.names.failed],
        (binding.read.name, binding.write.name),
        (_form(survey, 0), _form(survey, 1)),
        Path(binding.names.inventory.folder).name,
    )  # fmt: skip


def _file_notes(survey: Survey) -> list[tuple[str, str]]:
    """What is worth telling of the files that are read."""
    files = survey.binding.names.inventory.files
    return [(one.name, note) for one in survey.binding.files for note in files[one.name].notes]


def _form(survey: Survey, at: int) -> str:
    """The layout of a side, or else the model it is meant for."""
    side = (survey.binding.read, survey.binding.write)[at]
    return side.layout_name(survey.binding.layout) if side.choices else ""


def _range(values: Sequence[int | str] | None) -> str:
    values = values or ()
    if isinstance(values, range):
        return f"0…{len(values) - 1}" if len(values) else "none"
    return " ".join(map(str, values))


def _data(passage: Passage, views: RuleViews) -> dict[str, Any]:
    """What the script needs to name every tensor, and to say where it is."""
    plan = passage.survey.plan
    sizes = {**(plan.source_files if plan else {})}
    sizes |= {shard.name: shard.nbytes for shard in plan.shards} if plan else {}
    counts = {shard.name: len(shard.tensors) for shard in plan.shards} if plan else {}
    rules = [{"id": rule.number, **rule.data} for rule in passage.rules]
    return {
        "rules": rules,
        "specs": [[spec.dtype, list(spec.shape), spec.nbytes] for spec in views.specs],
        "files": [printable(name) for name in views.files],
        "sets": [list(one) for one in views.sets],
        "read": [[printable(f.name), sizes.get(f.name)] for f in passage.survey.binding.files],
        "written": [[printable(n), sizes[n], count] for n, count in counts.items()],
    }


def _json(value: Any) -> str:
    """JSON that can end no script element, whatever is in it."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Names from files with what cannot be seen spelled out; autoescape then does the rest."""
        return printable(value) if isinstance(value, str) and type(value) is not Markup else value

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=shown,
    )  # fmt: skip
    environment.filters["size"] = size_text
    environment.filters["count"] = "{:,}".format
    return environment
