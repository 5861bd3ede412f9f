"""One mapping after another, in one pass: what the first would write is never there."""

from __future__ import annotations

from mapengine.binding.binding import Binding
from mapengine.binding.names import Settings
from mapengine.language.mapping import Layout, Mapping
from mapengine.planning.layouts import choose_layout
from mapengine.planning.plan import Options, Plan, make_plan
from mapengine.planning.planned import planned_inventory


def followed(
    first: Plan,
    mapping: Mapping,
    settings: Settings,
    wanted: Layout | None,
    read: str,
    options: Options,
) -> Plan:
    """The plan of a mapping of what another plan makes. Raises `PlanError`.

    Its tensors are views of the first one's source, so ops that undo one another are gone.
    """
    binding = bound_after(first, mapping, settings, wanted, read)
    return make_plan(binding, options, after=first)


def bound_after(
    first: Plan, mapping: Mapping, settings: Settings, wanted: Layout | None, read: str
) -> Binding:
    """A mapping bound to what another plan makes. Raises `PlanError`."""
    binding = choose_layout(mapping, planned_inventory(first), settings, wanted, read)
    for name in mapping.files:  # a config carried over as it is, as a file beside it would be
        if name in first.configs:
            binding.configs.setdefault(name, dict(first.configs[name]))
    return binding
