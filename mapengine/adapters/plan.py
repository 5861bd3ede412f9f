"""The plan of an adapter: which layout it has, what is written, and the config beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mapengine.adapters.carrying import WEIGHT, Carried, Complaints, carried_updates
from mapengine.adapters.factors import Factors, Identity
from mapengine.adapters.model import Model
from mapengine.adapters.names import modules_of
from mapengine.adapters.reading import FILES, PREFIX, WHOLE, Adapter
from mapengine.adapters.whole import Whole, carried_whole
from mapengine.binding.binding import settings_problems
from mapengine.binding.inventory import Inventory
from mapengine.binding.names import Settings
from mapengine.errors import OpError, PlanError, Problem
from mapengine.fold import fold
from mapengine.language.mapping import Layout
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.planning.layouts import layouts_with
from mapengine.planning.plan import Options, Plan, PlannedTensor, Shard
from mapengine.planning.sharding import natural
from mapengine.specs import ADAPTER_CONFIG

_SHOWN = 6


class AdapterPlan(Plan):
    """A plan whose source and output are adapters: nothing of a checkpoint lies beside them."""

    subject = "an adapter"

    @property
    def companions(self) -> list[str]:
        return []

    @property
    def model(self) -> None:
        return None


@dataclass(frozen=True)
class _Fit:
    model: Model
    updates: Carried
    whole: Whole


@dataclass(frozen=True)
class _Failure:
    """Why an adapter does not fit a layout, and how far it came: the farthest says most."""

    stage: tuple[int, int]
    error: PlanError


def fitted(
    mapping: MappingFile,
    adapter: Adapter,
    inventory: Inventory,
    settings: Settings,
    identity: Identity,
    *,
    layout: Layout | None = None,
    read: str = "source",
    options: Options | None = None,
    base_model: str | None = None,
) -> AdapterPlan:
    """What becomes of an adapter of the model whose config is in `inventory`.

    Raises `PlanError` with every rule that stands in its way.
    """
    if problems := list(settings_problems(mapping, settings)):
        raise PlanError(*problems)
    tried = [
        _attempt(mapping, adapter, inventory, settings, identity, one, read)
        for one in layouts_with(mapping, layout, read)
    ]
    fits = [one for one in tried if isinstance(one, _Fit)]
    if not fits:
        failures = [one for one in tried if isinstance(one, _Failure)]
        raise min(failures, key=lambda failure: failure.stage).error
    if len({_signature(fit) for fit in fits}) > 1:
        raise PlanError(_several(fits))
    return _plan(fits[0], adapter, options or Options(), base_model)


def _attempt(
    mapping: MappingFile,
    adapter: Adapter,
    inventory: Inventory,
    settings: Settings,
    identity: Identity,
    layout: Layout,
    read: str,
) -> _Fit | _Failure:
    try:
        model = Model.of(mapping, inventory, settings, layout, read)
    except PlanError as error:
        return _Failure((2, len(error.problems)), error)
    lost = [key for key in (*adapter.updates, *adapter.whole) if key not in model.users]
    if lost:
        return _Failure((1, len(lost)), PlanError(_no_rule(lost, model)))
    complaints = Complaints()
    dtype = settings.dtype or model.binding.write.dtype
    try:
        if doubles := list(_doubles(adapter, model)):
            raise PlanError(*doubles)
        updates = carried_updates(model, adapter, identity, dtype, complaints)
        whole = carried_whole(model, adapter, dtype, complaints)
        if complaints.found:
            raise PlanError(*complaints.found.values())
    except PlanError as error:
        return _Failure((0, len(error.problems)), error)
    return _Fit(model, updates, whole)


def _no_rule(lost: list[str], model: Model) -> Problem:
    side = model.binding.read
    shown = "".join(f"\n  {pattern}" for pattern, _ in fold(lost)[:_SHOWN])
    message = f"the adapter is of what no rule takes from the {side.name}:{shown}"
    help = f"an adapter has the names of the {side.name}, and --reverse reads the other side's"
    return Problem("ME342", message, side.where, "tensors", help)


def _doubles(adapter: Adapter, model: Model) -> Iterator[Problem]:
    for key in (*adapter.updates, *adapter.whole):
        if len(model.users[key]) > 1:
            first, second = (step.rule for step in model.users[key][:2])
            message = f"{key} is used twice: by {first.path} ({first.where}) too"
            yield Problem("ME312", message, second.where, second.path)


def _signature(fit: _Fit) -> tuple[object, ...]:
    """What decides what an adapter becomes: the rules that hold, and the names they asked for."""
    names = fit.model.binding.names
    rules = frozenset(step.rule.path for step in fit.model.steps)
    return rules, frozenset((name, repr(names.value(name))) for name in names.origins)


def _several(fits: list[_Fit]) -> Problem:
    side = fits[0].model.binding.read
    names = " and ".join(side.layout_name(fit.model.binding.layout) for fit in fits)
    message = f"the adapter may be of {names}, and becomes something else by each"
    return Problem("ME421", message, side.where, help="--layout NAME decides")


def _plan(fit: _Fit, adapter: Adapter, options: Options, base_model: str | None) -> AdapterPlan:
    format = options.format or "safetensors"
    if format not in FILES:
        known = ", ".join(FILES)
        raise PlanError(
            Problem("ME601", f"there is no format {format!r}", help=f"there are {known}")
        )
    updates, whole = fit.updates, fit.whole
    modules = {key.removesuffix(WEIGHT): made for key, (made, _) in updates.items()}
    tensors = sorted(_tensors(updates, whole, modules), key=lambda tensor: natural(tensor.key))
    try:
        config = adapter.config.rewritten(
            {module: (made.rank, made.alpha) for module, made in modules.items()},
            whole.saved_modules,
            modules_of(fit.model.written),
            inputs_first=_inputs_first(modules),
            base_model=base_model,
        )
    except OpError as error:
        raise PlanError(error.at(fit.model.binding.write.where, "tensors")) from None
    binding = replace(fit.model.binding, configs={ADAPTER_CONFIG: config})
    shard = Shard(FILES[format], tuple(tensors))
    stored = {adapter.file: adapter.contents}
    return AdapterPlan(binding, format, (shard,), options, stored, whole.left_out)


def _tensors(
    updates: Carried, whole: Whole, modules: Mapping[str, Factors]
) -> Iterator[PlannedTensor]:
    for key, (made, rule) in updates.items():
        module = PREFIX + key.removesuffix(WEIGHT)
        a, b = "lora_embedding_A", "lora_embedding_B"
        if not made.table:
            a, b = "lora_A.weight", "lora_B.weight"
        yield PlannedTensor(f"{module}.{a}", made.a, rule)
        yield PlannedTensor(f"{module}.{b}", made.b, rule)
    for key, (content, rule) in whole.tensors.items():
        module, dot, leaf = key.rpartition(".")
        inside = WHOLE if module in modules else ""
        yield PlannedTensor(PREFIX + module + inside + dot + leaf, content, rule)


def _inputs_first(modules: Mapping[str, Factors]) -> bool:
    """`fan_in_fan_out`, of which there is one for all matrices. Raises `OpError`."""
    kinds = {
        made.inputs_first: module
        for module, made in modules.items()
        if not made.table and made.a.ndim == 2
    }
    if len(kinds) > 1:
        message = f"{kinds[True]} is stored with inputs first, and {kinds[False]} is not"
        help = "fan_in_fan_out is one for all modules: adapters for either kind could be mapped"
        raise OpError(message, "ME344", help)
    return next(iter(kinds), False)
