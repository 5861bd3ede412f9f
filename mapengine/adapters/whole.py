"""The tensors that an adapter holds whole, through the rules: they replace the model's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mapengine.adapters.carrying import Complaints
from mapengine.adapters.model import Model
from mapengine.adapters.reading import Adapter
from mapengine.errors import OpError
from mapengine.language.mapping import Rule
from mapengine.planning.expand import Step
from mapengine.planning.left_out import LeftOut
from mapengine.planning.plan import as_written
from mapengine.views import Lazy


@dataclass(frozen=True, slots=True)
class Whole:
    """Tensors by the key of the side that is written, and which come of `modules_to_save`."""

    tensors: dict[str, tuple[Lazy, Rule]]
    saved: frozenset[str]
    left_out: tuple[LeftOut, ...] = ()
    """What must hold of those that are not written."""

    @property
    def saved_modules(self) -> frozenset[str]:
        return frozenset(key.rpartition(".")[0] for key in self.saved)


def carried_whole(
    model: Model, adapter: Adapter, dtype: str | None, complaints: Complaints
) -> Whole:
    """What becomes of biases, tables and the modules that are saved whole.

    Raises `PlanError` where the rules do not fit.
    """
    steps = model.steps_of(adapter.whole)
    for step in steps:
        for error, key in _absent(step, adapter):
            complaints.add(error, step.rule, [key])
    if complaints.found:
        return Whole({}, frozenset())
    tensors = {a: adapter.whole[a[0]] for step in steps for a in step.sources.members}
    lowered = model.made(steps, tensors)
    made = {
        key: (as_written(content, dtype, rule), rule) for (key, _), content, rule in lowered.made
    }
    saved = [
        step
        for step in steps
        if any(adapter.config.is_saved(key) for key, _ in step.sources.members)
    ]
    keys = frozenset(key for step in saved for key, _ in step.targets.members)
    whole = Whole(made, keys, lowered.left_out)
    for error, rule, module in _incomplete(whole, model):
        complaints.add(error, rule, [module])
    return whole


def _absent(step: Step, adapter: Adapter) -> Iterator[tuple[OpError, str]]:
    """What a step takes beside a tensor that is there, and the adapter does not hold."""
    there = [key for key, _ in step.sources.members if key in adapter.whole]
    for key, _ in step.sources.members:
        if key not in adapter.whole:
            message = f"it is there whole, and {key}, with which it becomes one tensor, is not"
            yield OpError(message, "ME343"), there[0]
            return


def _incomplete(whole: Whole, model: Model) -> Iterator[tuple[OpError, Rule, str]]:
    """Modules that would be saved whole on the other side, of which something is not there."""
    for module in sorted(whole.saved_modules):
        inside = {key for key in model.written if key.startswith(f"{module}.")}
        if absent := sorted(inside - whole.tensors.keys()):
            rule = next(whole.tensors[key][1] for key in sorted(inside & whole.saved))
            message = f"it would be saved whole, and its {absent[0]} is not in the adapter"
            yield OpError(message, "ME343"), rule, module
