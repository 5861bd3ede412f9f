"""Which of a side's layouts a checkpoint has. Exactly one must fit; nothing is assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mapengine.binding import Binding, bind, settings_problems
from mapengine.config_values import ABSENT
from mapengine.errors import PlanError, Problem, suggest
from mapengine.expand import expand
from mapengine.inventory import Inventory, wildcard_match
from mapengine.mapping import Layout, Mapping, Side
from mapengine.names import ModelNames, Settings


@dataclass(frozen=True)
class Fit:
    """How far a layout is from fitting, and the binding that was tried."""

    layout: Layout
    lacks: tuple[str, ...]
    binding: Binding | None = None
    unmatched: int = 0


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
    layouts = [layout for layout in side.layouts() if wanted is None or wanted <= layout]
    if not layouts:
        known = [one.name for choice in side.choices for one in choice]
        name = "+".join(sorted(wanted or ()))
        hint = suggest(name, known) or f"layouts: {', '.join(known) or 'none'}"
        raise PlanError(Problem("ME422", f"there is no layout {name!r}", help=hint))
    if len(layouts) == 1:
        return bind(mapping, inventory, layouts[0], settings, read)
    fits = [_shallow(mapping, inventory, layout, settings, read) for layout in layouts]
    near = [fit for fit in fits if not fit.lacks]
    if not near:
        raise PlanError(_none_fits(mapping, fits, inventory, read))
    if len(near) > 1:
        near = [_deep(mapping, inventory, fit, settings, read) for fit in near]
        near.sort(key=lambda fit: fit.unmatched)
        if near[0].unmatched == near[1].unmatched:
            names = " and ".join(
                _name(f.layout, side) for f in near if f.unmatched == near[0].unmatched
            )
            message = f"{names} both fit what is in {inventory.folder}"
            raise PlanError(Problem("ME421", message, side.where, help="--layout NAME decides"))
    return near[0].binding or bind(mapping, inventory, near[0].layout, settings, read)


def _name(layout: Layout, side: Side) -> str:
    names = [one.name for choice in side.choices for one in choice if one.name in layout]
    return "+".join(names) or "the one layout"


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
    config = names.config(None)
    main = side.config_file(layout)
    if main and config is ABSENT:
        lacks.append(f"there is no {main.file} in {inventory.folder}")
    else:
        absent = list(_required_but_absent(names))
        if absent:
            known = ", ".join(list(config)[:6]) if isinstance(config, dict) else ""
            lacks.append(f"the config lacks {', '.join(absent[:6])} (has {known})")
    return Fit(layout, tuple(lacks))


def _required_but_absent(names: ModelNames) -> Iterator[str]:
    settings, mapping = names.settings, names.mapping
    preset = mapping.presets.get(settings.preset or "", {})
    for field in mapping.fields.values():
        paths = field.paths(names.side.name, names.layout)
        stands_in = (
            field.defaults.get(names.side.name) or field.compute or field.value.entries
        ) or (field.name in settings.values or field.name in preset)
        if (
            paths
            and not stands_in
            and field.when is None
            and all(names.at(path) is ABSENT for path in paths)
        ):
            yield str(paths[0])


def _deep(mapping: Mapping, inventory: Inventory, fit: Fit, settings: Settings, read: str) -> Fit:
    """How many keys a layout misses or leaves over, and how many config keys it does not read."""
    binding = bind(mapping, inventory, fit.layout, settings, read)
    wanted = {member for step in expand(binding).steps for member in step.sources.members}
    ignored = sum(is_ignored(binding, key) for key, _ in binding.tensors.keys() - wanted)
    unmatched = len(wanted ^ binding.tensors.keys()) - ignored
    config = sum(problem.code.startswith("ME4") for problem in binding.problems)
    return Fit(fit.layout, (), binding, unmatched + config)


def is_ignored(binding: Binding, key: str) -> bool:
    """Whether a tensor of the side that is read is left behind by name."""
    return key in binding.ignored or key.startswith(binding.ignored_below)


def _none_fits(mapping: Mapping, fits: list[Fit], inventory: Inventory, read: str) -> Problem:
    fits = sorted(fits, key=lambda fit: len(fit.lacks))
    shared = [lack for lack in fits[0].lacks if all(lack in fit.lacks for fit in fits)]
    if shared:
        message = f"no layout fits: {'; '.join(shared)}"
        return Problem("ME420", message, mapping.sides[read].where)
    told = [
        f"{_name(fit.layout, mapping.sides[read])}: {'; '.join(fit.lacks[:3])}" for fit in fits[:4]
    ]
    message = f"no layout fits what is in {inventory.folder}\n  " + "\n  ".join(told)
    return Problem("ME420", message, mapping.sides[read].where)
