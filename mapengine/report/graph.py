"""A mapping's rules as a graph in text: Mermaid, for what renders it, or one SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from mapengine.errors import printable
from mapengine.planning.survey import Survey
from mapengine.report.page.rules import Piece, RuleView, RuleViews

_PLAIN = re.compile(r"[^A-Za-z0-9 ._,/→×…-]")


def rule_views(surveys: Sequence[Survey]) -> list[RuleView]:
    """The rules of all surveys that do something."""
    views: list[RuleView] = []
    for survey in surveys:
        views += RuleViews(survey, first=len(views)).all()
    return views


# -- Mermaid --------------------------------------------------------------------------------------


def graph_mermaid(surveys: Sequence[Survey]) -> str:
    """A flow chart, a subgraph for each scope: `a --> op --> b`, counts on the arrows."""
    lines = ["flowchart LR"]
    scopes = groupby(rule_views(surveys), key=lambda view: view.scope)
    for number, (scope, rules) in enumerate(scopes):
        inside = [line for rule in rules for line in _mermaid_rule(rule)]
        if any(scope):
            title = _label(scope[0] if scope[0] == scope[1] else " → ".join(scope).strip())
            inside = [f"  subgraph g{number}[{title}]", *(f"  {one}" for one in inside), "  end"]
        lines += inside
    return "\n".join([*lines, ""])


def _mermaid_rule(rule: RuleView) -> Iterator[str]:
    n = rule.number
    sources = [f"s{n}_{i}[{_label(_text(key))}]" for i, key in enumerate(rule.taken)]
    targets = [f"t{n}_{i}[{_label(_text(key))}]" for i, key in enumerate(rule.made)]
    ops = [f"o{n}_{i}([{_label(chip)}])" for i, chip in enumerate(rule.chips)]
    count = f"|{_label(f'×{rule.counts[1]}')}|" if rule.counts[1] > 1 else ""
    start = " & ".join(sources)
    way = [*([start] if start else []), *ops]
    yield f"  {' --> '.join(way)} -->{count} {' & '.join(targets)}"


def _label(text: str) -> str:
    """A quoted label in which nothing is Mermaid's own."""
    return '"' + _PLAIN.sub(lambda sign: f"#{ord(sign[0])};", printable(text)) + '"'


def _text(key: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in key)


# -- SVG ------------------------------------------------------------------------------------------

_CHAR, _LINE, _PAD, _GAP = 7.5, 20, 16, 28
_STYLE = """
text { font: 12.5px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
text { fill: #171b22; } .page { fill: #ffffff; } .scope { fill: #eef0f4; }
.soft { fill: #566070; } .line { stroke: #b9c1cc; }
.op { fill: #ece4fa; } .opt { fill: #6d3fc4; }
.brace { fill: #a43c00; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e7eaf0; } .page { fill: #181c23; } .scope { fill: #20252e; }
  .soft { fill: #9ca7b7; } .line { stroke: #4a5361; }
  .op { fill: #33274f; } .opt { fill: #c0a2ff; } .brace { fill: #ffa36b; }
}
"""


def graph_svg(surveys: Sequence[Survey]) -> str:
    """The rules one below the other: what is taken, the ops on a line, what is made."""
    views = rule_views(surveys)
    left = max((_width(key) for view in views for key in view.taken), default=0)
    scopes = max((len(view.scope[0]) * _CHAR for view in views), default=0)
    left = max(left, scopes) + 2 * _PAD
    middle = max((_chips_width(view.chips) for view in views), default=0) + 2 * _GAP
    right = max(
        (max([len(v.scope[1]) * _CHAR, *map(_width, v.made)]) + 9 * _CHAR for v in views), default=0
    )
    right_at = left + middle
    parts, y = list[str](), float(_PAD)
    width = right_at + right + 2 * _PAD
    for scope, rules in groupby(views, key=lambda view: view.scope):
        if any(scope):
            parts.append(
                f'<rect class="scope" x="0" y="{y}" width="{width:.0f}" height="{_LINE}"/>'
            )
            for x, text in ((_PAD, scope[0]), (right_at, scope[1])):
                parts.append(_svg_text(x, y + 14, text, "soft"))
            y += _LINE + 6
        for rule in rules:
            height = _LINE * max(len(rule.taken), len(rule.made), 1)
            parts += _svg_rule(rule, y, height, (left, right_at, width))
            y += height + 6
        y += 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {y + _PAD:.0f}"'
        f' width="{width:.0f}" height="{y + _PAD:.0f}" role="img">'
        f"<style>{_STYLE}</style>"
        f'<rect class="page" width="{width:.0f}" height="{y + _PAD:.0f}" rx="8"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _svg_rule(
    rule: RuleView, y: float, height: float, at: tuple[float, float, float]
) -> Iterator[str]:
    left, right, width = at
    middle = y + height / 2
    for i, key in enumerate(rule.taken):
        yield _svg_key(_PAD, y + 14 + i * _LINE, key)
    for i, key in enumerate(rule.made):
        yield _svg_key(right, y + 14 + i * _LINE, key)
    end = right - 8
    yield (f'<path class="line" fill="none" d="M{left:.0f} {middle}H{end:.0f}m-5 -4l5 4l-5 4"/>')
    x = (left + right) / 2 - _chips_width(rule.chips) / 2
    for chip in rule.chips:
        wide = len(printable(chip)) * _CHAR + 12
        box = f'x="{x:.1f}" y="{middle - 9}" width="{wide:.1f}" height="18" rx="6"'
        yield f'<rect class="op" {box}/>{_svg_text(x + 6, middle + 4, chip, "opt")}'
        x += wide + 10
    if rule.counts[1] > 1:
        text = f"×{rule.counts[1]:,}"
        yield _svg_text(width - _PAD - len(text) * _CHAR, middle + 4, text, "soft")


def _svg_key(x: float, y: float, key: Sequence[Piece]) -> str:
    spans = [
        f'<tspan class="brace">{_escaped(piece.text)}</tspan>'
        if piece.index is not None
        else _escaped(piece.text)
        for piece in key
    ]
    return f'<text x="{x:.0f}" y="{y:.0f}">{"".join(spans)}</text>'


def _svg_text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.0f}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape(printable(text))


def _width(key: Sequence[Piece]) -> float:
    return len(printable(_text(key))) * _CHAR


def _chips_width(chips: Sequence[str]) -> float:
    return sum(len(printable(chip)) * _CHAR + 22 for chip in chips) - (10 if chips else 0)
