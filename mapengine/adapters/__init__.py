"""Low-rank adapters through the rules of a mapping: what becomes of their factors, and why not.

One doorway: an adapter's folder, and that of the model it was made for, to a plan like any other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mapengine.binding.names import Settings
    from mapengine.language.mapping import Layout, Mapping
    from mapengine.locations import Location
    from mapengine.planning.plan import Options, Plan


def plan_adapter(
    mapping: Mapping,
    folder: Location,
    model: Location | None,
    settings: Settings,
    layout: Layout | None,
    read: str,
    options: Options,
    base_model: str | None,
    follow_links: bool = False,
) -> Plan:
    """What becomes of the adapter in `folder`, which is of the side that is read.

    Of the folder `model` nothing is wanted but the config. Raises `MapengineError`.
    """
    from mapengine.adapters.identity import identities
    from mapengine.adapters.plan import fitted
    from mapengine.adapters.reading import read_adapter
    from mapengine.binding.inventory import Inventory
    from mapengine.checkpoints.folder import take_inventory
    from mapengine.checkpoints.links import SourceFolder

    adapter = read_adapter(folder, follow_links)
    inventory = Inventory("the adapter's model, for there is no --source", frozenset())
    if model is not None:
        inventory = take_inventory(
            model, mapping, mapping.sides[read], indexes=False, follow_links=follow_links
        )
    with identities(SourceFolder(folder, follow_links), adapter) as identity:
        return fitted(
            mapping, adapter, inventory, settings, identity,
            layout=layout, read=read, options=options, base_model=base_model,
        )  # fmt: skip
