"""What is known of the model that is asked about, and the short answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from mapengine.binding.binding import Binding, bind
from mapengine.binding.inventory import Address, Inventory
from mapengine.binding.names import Settings
from mapengine.errors import PlanError, Problem, Where
from mapengine.language.mapping import Layout, Mapping
from mapengine.planning.example import example_inventory, example_settings
from mapengine.planning.expand import MOST_KEYS, Expansion, expand
from mapengine.planning.layouts import choose_layout
from mapengine.planning.plan import Plan, make_plan
from mapengine.planning.planned import planned_inventory


@dataclass(frozen=True)
class Known:
    """A mapping bound to a checkpoint, or to its own example, and the plan if there can be one.

    `problems` say why there is none. `given` are the names that the user has set.
    """

    binding: Binding
    plan: Plan | None
    problems: tuple[Problem, ...]
    example: bool
    given: frozenset[str]

    @cached_property
    def expansion(self) -> Expansion:
        """Every step, also those of optional rules whose tensors are not there."""
        return expand(self.binding, MOST_KEYS if self.example else None)

    @cached_property
    def homes(self) -> dict[Address, str]:
        """The file that each tensor is written to."""
        shards = self.plan.shards if self.plan else ()
        return {(one.key, one.rank): shard.name for shard in shards for one in shard.tensors}


def models(
    mapping: Mapping,
    inventory: Inventory | None,
    settings: Settings,
    layout: Layout | None,
    read: str,
) -> Iterator[Known]:
    """The model in a folder, or the mapping's example in each layout that has the names wanted.

    Raises `MapengineError` where it is none.
    """
    if inventory is not None:
        yield _known(choose_layout(mapping, inventory, settings, layout, read), settings, None)
        return
    for one in mapping.layouts():
        if (layout or frozenset()) <= one:
            yield _example(mapping, one, settings, read)


def _example(mapping: Mapping, layout: Layout, settings: Settings, read: str) -> Known:
    """The example as it is there, or as it comes of the mapping where that is read."""
    first = bind(
        mapping, example_inventory(mapping, layout), layout, _set(mapping, layout, settings)
    )
    if read == "source":
        return _known(first, settings, None, example=True)
    plan = make_plan(first)
    told = _set(mapping, layout, settings, read)
    back = bind(mapping, planned_inventory(plan), layout, told, read)
    return _known(back, settings, plan, example=True)


def _set(mapping: Mapping, layout: Layout, settings: Settings, read: str = "source") -> Settings:
    """What is set by hand, and what of the example no file can say."""
    values = example_settings(mapping, layout, read).values
    return replace(settings, values={**values, **settings.values})


def _known(
    binding: Binding, settings: Settings, after: Plan | None, example: bool = False
) -> Known:
    given = frozenset(settings.values)
    try:
        return Known(binding, make_plan(binding, after=after), (), example, given)
    except PlanError as error:
        return Known(binding, None, error.problems, example, given)


@dataclass(frozen=True, slots=True)
class Remark:
    """What there is to say of a name that no rule and no field takes.

    It is `ignored`, `carried` over as it is, or `unmapped`, which is wrong.
    """

    name: str
    kind: str
    side: str
    where: Where | None
    text: str
