"""Which of a side's layouts a checkpoint has. Exactly one must fit; nothing is assumed."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass

from mapengine.binding.binding import Binding, bind, settings_problems
from mapengine.binding.config_values import ABSENT
from mapengine.binding.configs import no_config
from mapengine.binding.inventory import Inventory, wildcard_match
from mapengine.binding.names import ModelNames, Settings
from mapengine.errors import PlanError, Problem, suggest
from mapengine.language.mapping import Layout, Mapping, Side
from mapengine.planning.coverage import drop_absent
from mapengine.planning.expand import expand


@dataclass(frozen=True)
class Fit:
    """How far a layout is from fitting: `unmatched` counts the keys and paths that differ."""

    layout: Layout
    lacks: tuple[str, ...]
    unmatched: int
    binding: Binding | None = None
    problems: tuple[Problem, ...] = ()


def choose_layout(
    mapping: Mapping,
    inventory: Inventory,
    settings: Settings,
    wanted: Layout | None = None,
    read: str = "source",
) -> Binding:
    """The binding in the one layout that fits. Raises `PlanError` where none does, or several.

    A layout that fits but for some of its keys is bound all the same: the plan says which.
    """
    if problems := list(settings_problems(mapping, settings)):
        raise PlanError(*problems)
    side = mapping.sides[read]
    layouts = layouts_with(mapping, wanted, read)
    if len(layouts) == 1:
        return bind(mapping, inventory, layouts[0], settings, read)
    fits = [_shallow(mapping, inventory, layout, settings, read) for layout in layouts]
    near = [fit for fit in fits if not fit.lacks]
    if not near:
        raise PlanError(_none_fits(mapping, fits, inventory, read))
    if len(near) == 1:
        return bind(mapping, inventory, near[0].layout, settings, read)
    deep = [_deep(mapping, inventory, fit.layout, settings, read) for fit in near]
    best = min(fit.unmatched for fit in deep)
    nearest = [fit for fit in deep if fit.unmatched == best]
    if len(nearest) > 1:
        raise PlanError(*_several_fit(nearest, inventory, side))
    assert nearest[0].binding is not None
    return nearest[0].binding


def layouts_with(mapping: Mapping, wanted: Layout | None, read: str = "source") -> list[Layout]:
    """The layouts of the side that is read, each with the first of the side that is written.

    All have the names wanted, of either side. Raises `PlanError` where there is none.
    """
    sides = mapping.sides[read], *(side for name, side in mapping.sides.items() if name != read)
    known = frozenset[str]().union(*(side.layout_names for side in sides))
    names = wanted or frozenset()
    fit = [[one for one in s.layouts() if names & s.layout_names <= one] for s in sides]
    if not names <= known or not all(fit):
        name = "+".join(sorted(names))
        hint = suggest(name, known) or f"layouts: {', '.join(sorted(known)) or 'none'}"
        raise PlanError(Problem("ME422", f"there is no layout {name!r}", help=hint))
    return [one | fit[1][0] for one in fit[0]]


def _several_fit(fits: list[Fit], inventory: Inventory, side: Side) -> list[Problem]:
    """What is wrong in all of them, which may be why none stands out; or else that they tie."""
    shared = [p for p in fits[0].problems if all(p in fit.problems for fit in fits)]
    names = " and ".join(side.layout_name(fit.layout) for fit in fits)
    verb = "are equally near to" if fits[0].unmatched else "both fit"
    message = f"{names} {verb} what is in {inventory.folder}"
    return shared or [Problem("ME421", message, side.where, help="--layout NAME decides")]


def _shallow(
    mapping: Mapping, inventory: Inventory, layout: Layout, settings: Settings, read: str
) -> Fit:
    """What a layout lacks of its files and of the config paths it cannot do without."""
    names = ModelNames(mapping, inventory, layout, settings, read)
    side = names.side
    lacks = []
    names_of_files = frozenset(n for n in inventory.names if not n.endswith(".json"))
    if not any(wildcard_match(pattern, names_of_files) for pattern in side.files(layout)):
        texts = " or ".join(pattern.pattern.text for pattern in side.files(layout))
        lacks.append(f"there is no {texts} in {inventory.folder}")
    config, main = names.config.start(None), side.config_file(layout)
    if main and not isinstance(config, AnyMapping):
        lacks.append(no_config(names, main, config))
        return Fit(layout, tuple(lacks), len(lacks))
    absent = list(_required_but_absent(names))
    if absent:
        has = f" (has {', '.join(list(config)[:6])})" if main and config else ""
        lacks.append(f"the config lacks {', '.join(absent[:6])}{has}")
    return Fit(layout, tuple(lacks), len(lacks) + len(absent))


def _required_but_absent(names: ModelNames) -> Iterator[str]:
    settings, mapping = names.settings, names.mapping
    preset, named = mapping.presets.get(settings.preset or "", {}), mapping.named()
    for field in mapping.fields.values():
        paths = field.paths(names.side.name, names.layout)
        stands_in = (
            field.defaults.get(names.side.name) or field.compute or field.value.entries
        ) or (field.name in settings.values or field.name in preset)
        if (
            paths
            and not stands_in
            and not field.whens
            and (field.name in named or field.paths(names.other.name, names.layout))
            and all(names.config.at(path) is ABSENT for path in paths)
        ):
            yield str(paths[0])


def _deep(
    mapping: Mapping, inventory: Inventory, layout: Layout, settings: Settings, read: str
) -> Fit:
    """How many keys a layout misses or leaves over, and how many config keys it does not read."""
    binding = bind(mapping, inventory, layout, settings, read)
    expansion = expand(binding)
    steps = drop_absent(expansion.steps, binding)
    wanted = {member for step in steps for member in step.sources.members}
    missing, left = wanted - binding.tensors.keys(), binding.tensors.keys() - wanted
    unmatched = len(missing) + sum(not binding.ignores(key) for key, _ in left)
    config = sum(problem.code.startswith("ME4") for problem in binding.problems)
    problems = (*binding.problems, *expansion.problems)
    return Fit(layout, (), unmatched + config, binding, problems)


_OTHER = {"source": "target", "target": "source"}


def _looks_like(mapping: Mapping, inventory: Inventory, other: str) -> bool:
    """Whether the config and the tensors of the side that is written are there."""
    side = mapping.sides[other]
    for layout in mapping.layouts():
        config = side.config_file(layout)
        tensors = frozenset(n for n in inventory.names if not n.endswith(".json"))
        if (
            config
            and config.file in inventory.names
            and any(wildcard_match(pattern, tensors) for pattern in side.files(layout))
        ):
            return True
    return False


def _none_fits(mapping: Mapping, fits: list[Fit], inventory: Inventory, read: str) -> Problem:
    fits = sorted(fits, key=lambda fit: fit.unmatched)
    shared = [lack for lack in fits[0].lacks if all(lack in fit.lacks for fit in fits)]
    held = ", ".join(sorted(inventory.names)[:8]) or "no file"
    help = f"{inventory.folder} holds {held}{', ...' if len(inventory.names) > 8 else ''}"
    if _looks_like(mapping, inventory, "target" if read == "source" else "source"):
        way = "--reverse takes it back" if read == "source" else "leave --reverse out"
        help = f"it looks like what the mapping calls its {_OTHER[read]}: {way}; {help}"
    if shared:
        message = f"no layout fits: {'; '.join(shared)}"
        return Problem("ME420", message, mapping.sides[read].where, help=help)
    told: dict[tuple[str, ...], list[str]] = {}
    for fit in fits:
        told.setdefault(fit.lacks[:3], []).append(mapping.sides[read].layout_name(fit.layout))
    lines = [f"\n  {', '.join(names)}: {'; '.join(lacks)}" for lacks, names in told.items()]
    message = f"no layout fits what is in {inventory.folder}{''.join(lines[:4])}"
    return Problem("ME420", message, mapping.sides[read].where, help=help)
