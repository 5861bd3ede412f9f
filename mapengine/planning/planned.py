"""A plan as the folder it would write: what another mapping, or the way back, starts from."""

from __future__ import annotations

from mapengine.binding.inventory import Inventory, PlannedFile
from mapengine.planning.plan import Plan


def planned_inventory(plan: Plan) -> Inventory:
    """The names, headers and configs of the checkpoint that a plan describes."""
    files = {
        shard.name: PlannedFile(
            {t.key: t.content for t in shard.tensors}, shard.nbytes, shard.objects
        )
        for shard in plan.shards
    }
    names = frozenset({*files, *plan.configs, *plan.companions})
    return Inventory(f"what {plan.mapping.name} makes", names, files, plan.configs)
