"""What the page shows of each rule, and what its script expands it from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mapengine.errors import Problem
from mapengine.language.mapping import SIDES, Rule
from mapengine.language.patterns import Hole, KeyPattern
from mapengine.ops import NAMES, Exactness
from mapengine.planning.exactness import exactness
from mapengine.planning.expand import Family, Step
from mapengine.planning.survey import Survey
from mapengine.planning.tracing import Bundle, Trace, Tracer
from mapengine.report.page.glyphs import Glyph, Scale
from mapengine.report.page.spelling import Numbered, loops_of, places, range_of, runs, side
from mapengine.report.page.words import arguments_text, specs_text
from mapengine.report.plans import call_text
from mapengine.specs import TensorSpec

MOST_PIPES = 24
"""How many traces of one rule are drawn: layers that all differ say little more."""
_YAML_LINES = 14


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a key pattern: plain text, or a brace; `index` numbers the index it depends on."""

    text: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """Tensors at one point of a rule, told and drawn. `doing` is the op that made them."""

    told: str
    fans: str
    glyph: Glyph | None
    doing: str = ""
    bound: str = ""


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule that does something here."""

    number: int
    rule: Rule
    scope: tuple[str, str]
    taken: list[list[Piece]]
    made: list[list[Piece]]
    chips: list[str]
    words: list[str]
    ends: tuple[Point | None, Point | None]
    pipes: list[tuple[int, list[Point]]]
    steps: int
    counts: tuple[int, int]
    nbytes: int
    exactness: str
    yaml: str
    conditions: list[str]
    problems: list[Problem]
    notes: list[Problem]
    data: dict[str, Any] = field(repr=False)


class RuleViews:
    """The views of a survey's rules. `files` and `sets` number what the script is given once."""

    def __init__(self, survey: Survey, notes: Sequence[Problem] = (), first: int = 0) -> None:
        self.survey, self.binding = survey, survey.binding
        self.files, self.sets, self.specs = Numbered(), Numbered(), Numbered()
        self._notes, self._first = notes, first
        self._backwards = self.binding.read.name != "source"
        self._lines = self.binding.mapping.document.text.splitlines()
        self._indices = {name: i for i, name in enumerate(self.binding.mapping.dims)}
        sizes = [n for one in self.binding.tensors.values() for n in one.spec.shape]
        self._scale = Scale([max(sizes, default=2)])

    def all(self) -> list[RuleView]:
        """In the order of the file."""
        by_rule = self.survey.by_rule
        rules = [rule for rule in self.binding.mapping.rules if rule.path in by_rule]
        return [self._view(i, rule, by_rule[rule.path]) for i, rule in enumerate(rules)]

    def _view(self, number: int, rule: Rule, steps: list[Step]) -> RuleView:
        tracer = Tracer(rule, self.binding)
        traces = [tracer.of(step) for step in steps]
        kinds = Numbered()
        of_steps = runs(kinds[id(trace)] for trace in traces)
        distinct = {kinds[id(trace)]: trace for trace in traces}
        told = {kind: trace for kind, trace in distinct.items() if trace is not None}
        drawn = list(told.values())
        taken, made = self.binding.read.name, self.binding.write.name
        scope = tuple(rule.scope[SIDES.index(one)] for one in (taken, made))
        first = drawn[0] if drawn else None
        counts = (
            _members(step.sources for step in steps),
            _members(step.targets for step in steps),
        )
        return RuleView(
            number + self._first, rule, (scope[0], scope[1]),
            [self._pieces(p, scope[0]) for p in rule.keys(taken)],
            [self._pieces(p, scope[1]) for p in rule.keys(made)],
            self._chips(rule, first), sorted({call.name for call in rule.ops}),
            self._ends(first), [(kind, self._pipe(told[kind])) for kind in [*told][:MOST_PIPES]],
            len(steps), counts, _nbytes(traces), self._exactness(steps, drawn),
            self._yaml(rule), self._conditions(rule),
            [p for p in self.survey.problems if _is_of(p, rule)],
            [p for p in self._notes if _is_of(p, rule)],
            self._data(rule, steps, of_steps, list(distinct.values())),
        )  # fmt: skip

    def _data(
        self, rule: Rule, steps: list[Step], of_steps: list[Any], kinds: list[Trace | None]
    ) -> dict[str, Any]:
        loops = loops_of(steps, self.binding)
        binding, names = self.binding, self.binding.names
        sides = binding.read.name, binding.write.name
        taken, made = (rule.keys(one) for one in sides)
        written, read = self.survey.written, self.survey.read_from
        return {
            "loops": [[name, range_of(values)] for name, values in loops],
            "at": places(steps, loops),
            "steps": len(steps),
            "taken": side(taken, steps[0].sources, loops, binding.ranks, names),
            "made": side(made, steps[0].targets, loops, binding.written_ranks, names),
            "traces": of_steps,
            "kinds": [self._kind(trace) for trace in kinds],
            "from": runs(self._set(read, step.sources.members) for step in steps),
            "to": runs(
                self._set({a: written[a][0] for a in step.targets.members if a in written},
                          step.targets.members)
                for step in steps
            ),
        }  # fmt: skip

    def _set(self, where: Mapping[Any, str], members: Sequence[Any]) -> int:
        """The number of the files in which the tensors of a step are; -1 is none."""
        found = (self.files[where[one]] if one in where else -1 for one in members)
        return self.sets[tuple(runs(found))]

    def _kind(self, trace: Trace | None) -> dict[str, Any]:
        if trace is None:
            return {"taken": [], "made": []}
        taken, made = trace.taken.specs, trace.made
        return {
            "taken": runs(self.specs[spec] for spec in taken),
            "made": runs(self.specs[spec] for spec in made),
        }

    # -- what is drawn ------------------------------------------------------------------------

    def _pieces(self, pattern: KeyPattern, scope: str) -> list[Piece]:
        """The pattern as it is written, without the scope, its braces apart."""
        text, pieces = pattern.text, list[Piece]()
        start = len(scope) if text.startswith(scope) else 0
        for hole in (one for one in pattern.holes if one.offset > start):
            opens, closes = text.rindex("{", 0, hole.offset), text.index("}", hole.offset) + 1
            pieces.append(Piece(text[start:opens]))
            pieces.append(Piece(text[opens:closes], self._index(hole)))
            start = closes
        return [piece for piece in (*pieces, Piece(text[start:])) if piece.text]

    def _index(self, hole: Hole) -> int:
        known = self.binding.names.indices_of(hole.expression.names)
        return min((self._indices[name] for name in known), default=0)

    def scope_pieces(self, scope: str) -> list[Piece]:
        """A scope as its rules' keys are shown."""
        return self._pieces(KeyPattern.parse(scope), "") if scope else []

    def _chips(self, rule: Rule, trace: Trace | None) -> list[str]:
        if rule.constant is not None:
            return [f"{'checked: ' if self._backwards else ''}{rule.constant}"]
        calls = reversed(rule.ops) if self._backwards else rule.ops
        undo = "undo " if self._backwards else ""
        extra = [s for s in trace.stages if s.call is None] if trace else []
        return [
            *(undo + call_text(call) for call in calls),
            *(f"cast {arguments_text(s.op)}" for s in extra),
        ]

    def _ends(self, trace: Trace | None) -> tuple[Point | None, Point | None]:
        if trace is None:
            return None, None
        made = Bundle((), trace.made)
        return (
            self._point(trace.taken) if trace.taken.specs else None,
            self._point(made) if made.specs else None,
        )

    def _pipe(self, trace: Trace) -> list[Point]:
        """What is taken, and what comes of each op."""
        points = [self._point(trace.taken)] if trace.taken.specs else []
        for stage in trace.stages:
            points.append(self._point(stage.made, NAMES[type(stage.op)], arguments_text(stage.op)))
        if not trace.stages and not trace.taken.specs:
            points.append(self._point(Bundle((), trace.made)))
        return points

    def _point(self, bundle: Bundle, doing: str = "", bound: str = "") -> Point:
        fans = " · ".join(f"{label or 'key'} {size}" for label, size in bundle.fans)
        return Point(specs_text(bundle.specs), fans, self._scale.bundle(bundle), doing, bound)

    def _exactness(self, steps: list[Step], traces: list[Trace]) -> str:
        """What becomes of the values: of all kinds of tensors the worst."""
        seen: dict[tuple[TensorSpec, ...], Exactness] = {}
        for step in steps:
            found = [self.survey.written.get(address) for address in step.targets.members]
            kind = tuple(self.binding.tensors[a].spec for a in step.sources.members
                         if a in self.binding.tensors)  # fmt: skip
            if kind not in seen and found and all(found):
                order = list(Exactness)
                each = [exactness(one[1]) for one in found if one]
                seen[kind] = max(each, key=order.index)
        return str(max(seen.values(), key=list(Exactness).index).value) if seen else ""

    def _yaml(self, rule: Rule) -> str:
        """The lines of the file that say it."""
        start = rule.where.line - 1
        indent = len(self._lines[start]) - len(self._lines[start].lstrip())
        end = start + 1
        while end < min(len(self._lines), start + _YAML_LINES):
            line = self._lines[end]
            if not line.strip() or len(line) - len(line.lstrip()) <= indent:
                break
            end += 1
        return "\n".join(line[indent:] for line in self._lines[start:end])

    def _conditions(self, rule: Rule) -> list[str]:
        layouts = [" or ".join("+".join(sorted(one)) for one in kept) for kept in rule.layouts]
        return [
            *(f"when {when.text}" for when in rule.when),
            *(f"in layout {text}" for text in dict.fromkeys(map(str, sorted(layouts)))),
            *(["optional"] if rule.optional else []),
        ]


def _members(families: Iterable[Family[Any]]) -> int:
    return sum(len(family.members) for family in families)


def _nbytes(traces: Sequence[Trace | None]) -> int:
    return sum(spec.nbytes for trace in traces if trace for spec in trace.made)


def _is_of(problem: Problem, rule: Rule) -> bool:
    if problem.where is None or problem.where.file != rule.where.file:
        return False
    return problem.path == rule.path or problem.path.startswith(f"{rule.path}.")


def groups(views: Sequence[RuleView]) -> Iterator[tuple[tuple[str, str], list[RuleView]]]:
    """The rules that stand in one scope, one after the other."""
    found: list[tuple[tuple[str, str], list[RuleView]]] = []
    for view in views:
        if not found or found[-1][0] != view.scope:
            found.append((view.scope, []))
        found[-1][1].append(view)
    return iter(found)
