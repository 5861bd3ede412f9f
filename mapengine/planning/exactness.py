"""What becomes of the values of a planned tensor: the weakest of what its ops do to them."""

from __future__ import annotations

from mapengine.ops import Exactness
from mapengine.ops.cast import widens
from mapengine.planning.plan import PlannedTensor
from mapengine.views import Combined, Content, Lazy, Mapped

WEAKEST_LAST = list(Exactness)


def exactness(tensor: PlannedTensor) -> Exactness:
    """What becomes of a tensor's values on the way."""
    by_rule = any(call.name == "cast" for call in tensor.rule.ops)
    found = [Exactness.EXACT]
    inside: list[Content] = [tensor.content]
    while inside:
        one = inside.pop()
        if isinstance(one, Mapped):
            found.append(_exactness(one, by_rule))
        if isinstance(one, Combined):
            found.append(one.op.exactness(one.members[0].dtype))
        inside += one.inputs() if isinstance(one, Lazy) else ()
    return max(found, key=WEAKEST_LAST.index)


def _exactness(mapped: Mapped, by_rule: bool) -> Exactness:
    claimed: Exactness = mapped.op.exactness(mapped.content.dtype)
    if claimed is Exactness.ONE_WAY and not by_rule:  # its side's `dtype`: nothing is to be undone
        return Exactness.WIDENING if widens(mapped.content.dtype, mapped.dtype) else Exactness.LOSSY
    return claimed
