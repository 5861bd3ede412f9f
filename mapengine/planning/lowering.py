"""Steps to tensors: each rule's ops run on views of the stored tensors, and shapes are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, cast

from mapengine.binding.binding import Binding
from mapengine.binding.config_values import ValueProblem, told
from mapengine.binding.inventory import Address
from mapengine.binding.names import ModelNames, UnboundName
from mapengine.binding.scope import Scope
from mapengine.errors import OpError, Problem
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import Constant, OpCall, Rule
from mapengine.ops import Op
from mapengine.ops.pad import CUT, UNCHECKED, Unpad
from mapengine.planning.constants import constant_of
from mapengine.planning.expand import Family, Label, Step
from mapengine.planning.families import apply_op, bind_op, settle
from mapengine.planning.left_out import LeftOut
from mapengine.specs import StoredTensor
from mapengine.views import Content, Filled, Lazy, View

Made = tuple[Address, Lazy, Rule]
_IGNORE = "`ignore` in place of the rule leaves them behind, whatever they are"


class StopStep(Exception):
    """A step that cannot go on, for a reason already noted."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """Every tensor that is written, what must hold of others, and what stands in the way."""

    made: tuple[Made, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...]


Watch = Callable[[OpCall, Op, Family[Any], Family[Any]], None]
"""Told of each op that is done: the tensors before and after it."""


def lower(steps: Sequence[Step], binding: Binding, watch: Watch | None = None) -> Lowered:
    """The tensors that come of the steps; one problem for each rule and cause."""
    lowering = _Lowering(binding, watch)
    for step in steps:
        try:
            lowering.step(step)
        except (StopStep, UnboundName):
            continue
    made, problems = lowering.made.values(), lowering.problems.values()
    return Lowered(tuple(made), tuple(lowering.left_out), tuple(problems))


class _Lowering:
    def __init__(self, binding: Binding, watch: Watch | None) -> None:
        self.binding = binding
        self.watch = watch
        self.backwards = binding.read.name != "source"
        self.made: dict[Address, Made] = {}
        self.left_out: list[LeftOut] = []
        self.problems: dict[tuple[str, str], Problem] = {}
        self._ops: dict[int, Op] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}

    def step(self, step: Step) -> None:
        rule, tensors = step.rule, self.binding.tensors
        try:
            stored = [tensors[address] for address in step.sources.members]
        except KeyError:  # the missing ones are told once, for all rules together
            raise StopStep from None
        if rule.constant is not None:
            self._constant(step, rule.constant, stored)
            return
        if not self.backwards:
            self._check_shapes(step, stored)
            self._check_dtypes(step, stored)
        family: Family[Any] = Family(
            step.sources.labels,
            step.sources.ranges,
            tuple(map(_seen, stored)),
        )
        for call in reversed(rule.ops) if self.backwards else rule.ops:
            family = self._apply(step, call, family)
        try:
            made = cast("Sequence[Lazy]", settle(family, step.targets))
        except OpError as error:
            self._note(error.at(rule.where, rule.path))
            raise StopStep from None
        if self.backwards:
            self._check_shapes(step, made)
        for address, tensor in zip(step.targets.members, made, strict=True):
            self._keep(address, tensor, rule)

    def _keep(self, address: Address, tensor: Lazy, rule: Rule) -> None:
        if address in self.made:
            other = self.made[address][2]
            message = f"{address[0]} is made twice: by {other.path} ({other.where}) too"
            self._note(Problem("ME313", message, rule.where, rule.path), rule.path + other.path)
        self.made[address] = (address, tensor, rule)

    def _note(self, problem: Problem, cause: str = "") -> None:
        self.problems.setdefault((problem.path, cause or problem.message), problem)

    def _constant(self, step: Step, constant: Constant, stored: Sequence[Content]) -> None:
        """Writes what the mapping says; on the way back that is checked, and left out."""
        rule, shape = step.rule, self._shape(step, constant.shape)
        dtypes: set[str | None] = {one.spec.dtype for one in stored}
        try:
            made = {
                dtype: constant_of(constant, shape, self.binding.names, step, dtype)
                for dtype in dtypes or {None}
            }
        except ExpressionError as error:
            where = error.where or rule.where
            self._note(Problem("ME303", str(error), where, rule.path, error.help))
            raise StopStep from None
        for address in step.targets.members:
            self._keep(address, made[None], rule)
        for (key, _), found in zip(step.sources.members, stored, strict=True):
            wanted = made[found.spec.dtype]
            if found.spec == wanted.spec:
                fault = f"are not those of `value: {constant}`"
                out = LeftOut(key, _seen(found), wanted, rule, rule, fault, _IGNORE)
                self.left_out.append(out)
            else:
                message = f"{key} is {found.spec}, and the rule says {wanted.spec}"
                self._note(Problem("ME311", message, rule.where, rule.path))

    # -- ops ----------------------------------------------------------------------------------

    def _apply(self, step: Step, call: OpCall, family: Family[Any]) -> Family[Any]:
        scope = Scope(self.binding.names, step.indices)
        try:
            op = self._bound(step, call, family, scope)
            made: Sequence[int | str] = ()
            if op.makes is not None:
                made = self._ranges(step, family)[op.makes.index]
            after = apply_op(family, op, made)
            if isinstance(op, Unpad):
                self._leave_out(step, call, op, family.members)
            if self.watch is not None:
                self.watch(call, op, family, after)
            return after
        except OpError as error:
            problem = error.at(call.where, call.path)
        except ExpressionError as error:
            where = error.where or call.where
            problem = Problem("ME303", str(error), where, call.path, error.help)
        self._note(problem)
        raise StopStep from None

    def _leave_out(self, step: Step, call: OpCall, op: Unpad, tensors: Sequence[Lazy]) -> None:
        """Notes what is cut off tensors on the way to the targets of a step."""
        keys = [key for key, _ in step.targets.members]
        keys = keys if len(keys) == len(tensors) else keys[:1] * len(tensors)
        for key, tensor in zip(keys, tensors, strict=True):
            if isinstance(cut := op.cut(tensor), Lazy):
                zeros = View.of(Filled(0, cut.shape, cut.dtype))
                out = LeftOut(key, cut, zeros, step.rule, call, CUT, UNCHECKED, op.unchecked)
                self.left_out.append(out)

    def _bound(self, step: Step, call: OpCall, family: Family[Any], scope: Scope) -> Op:
        known = self._ops.get(id(call))
        if known is not None:
            return known
        ranges = self._ranges(step, family)
        op = bind_op(call, scope, ranges, len(ranges.get(None, ())))
        if self.backwards:
            op = op.inverse()
        if not self._depends(call.names, step):
            self._ops[id(call)] = op
        return op

    def _ranges(self, step: Step, family: Family[Any]) -> dict[Label, Sequence[int | str]]:
        """The ranges an op may name: what is there, and what is wanted."""
        ranges: dict[Label, Sequence[int | str]] = {}
        for name in self.binding.mapping.dims:
            size = self.binding.names.range_of(name)
            if size is not None and name not in step.loops:
                ranges[name] = size
        ranges |= dict(zip(step.targets.labels, step.targets.ranges, strict=True))
        ranges |= dict(zip(family.labels, family.ranges, strict=True))
        return ranges

    # -- shapes -------------------------------------------------------------------------------

    def _check_shapes(self, step: Step, tensors: Sequence[Content]) -> None:
        """Holds the tensors of the source, read or made, to what their rule says of them."""
        rule = step.rule
        if not rule.shapes:
            return
        each = len(tensors) // len(rule.sources)
        wrong = False
        for i, one in enumerate(tensors):
            wanted = rule.shapes[i // each]
            sizes = self._shape(step, wanted)
            if one.spec.shape != sizes:
                self._note(self._misshapen(step, i, one, wanted, sizes), "shape")
                wrong = True
        if wrong:
            raise StopStep

    def _check_dtypes(self, step: Step, tensors: Sequence[Content]) -> None:
        """Holds the tensors that are read to what their rule says of them."""
        rule = step.rule
        each = len(tensors) // len(rule.sources)
        for i, one in enumerate(tensors if rule.dtypes else ()):
            wanted = rule.dtypes[i // each]
            if one.spec.dtype != wanted:
                where = f" in {one.location.file}" if isinstance(one, StoredTensor) else ""
                message = f"{step.sources.members[i][0]} is {one.spec.dtype}{where}, not {wanted}"
                self._note(Problem("ME317", message, rule.where, f"{rule.path}.dtype"), "dtype")
                raise StopStep

    def _shape(self, step: Step, wanted: tuple[Expression, ...]) -> tuple[int, ...]:
        known = self._shapes.get(id(wanted))
        if known is not None:
            return known
        rule = step.rule
        try:
            sizes = shape_of(wanted, self.binding.names, step)
        except ExpressionError as error:
            where, path = error.where or rule.where, f"{rule.path}.shape"
            self._note(Problem("ME303", str(error), where, path, error.help))
            raise StopStep from None
        if not self._depends(_names_in(wanted), step):
            self._shapes[id(wanted)] = sizes
        return sizes

    def _depends(self, names: AbstractSet[str], step: Step) -> bool:
        """Whether any of `names` may be another value at another index."""
        return not self.binding.names.indices_of(names).isdisjoint(step.loops)

    def _misshapen(
        self,
        step: Step,
        i: int,
        tensor: Content,
        wanted: tuple[Expression, ...],
        sizes: tuple[int, ...],
    ) -> Problem:
        rule, names = step.rule, self.binding.names
        text = ", ".join(one.text for one in wanted)
        used = sorted(_names_in(wanted) & names.mapping.fields.keys())
        scope = Scope(names, step.indices)
        origins = "; ".join(f"{n} {told(scope.name(n))} ({names.origins[n]})" for n in used)
        found = list(tensor.spec.shape)
        if self.backwards:
            told_of = f"{step.targets.members[i][0]} would be {found}"
        elif isinstance(tensor, StoredTensor):
            told_of = f"{step.sources.members[i][0]} is {found} in {tensor.location.file}"
        else:
            told_of = f"{step.sources.members[i][0]} is {found}"
        message = f"{told_of}, and [{text}] is {list(sizes)}"
        return Problem("ME311", message, rule.where, f"{rule.path}.shape", origins)


def _seen(content: Content) -> Lazy:
    return View.of(content) if isinstance(content, StoredTensor) else content


def shape_of(wanted: Sequence[Expression], names: ModelNames, step: Step) -> tuple[int, ...]:
    """The sizes that a rule states, at one step. Raises `ExpressionError`."""
    sizes = tuple(names.evaluate(one, step.indices) for one in wanted)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in sizes):
        text = ", ".join(one.text for one in wanted)
        divided = any("/" in one.text.replace("//", "") for one in wanted)
        help = "// divides without a remainder" if divided else ""
        if any(isinstance(n, str) for n in sizes):
            help = "a size is a number, with no quotes: see what `example` or the config says"
        raise ValueProblem(f"[{text}] is {told(sizes)}, which is no shape", help)
    return sizes


def _names_in(sizes: Sequence[Expression]) -> frozenset[str]:
    return frozenset[str]().union(*(size.names for size in sizes))
