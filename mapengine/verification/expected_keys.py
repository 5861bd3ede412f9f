"""The keys and shapes a model class of transformers expects in a checkpoint.

From version 5 on a model's `state_dict()` is not what its files hold: experts are fused when they
are loaded and cut apart when they are saved. What saving does is not part of the documented
interface, so it is asked for here and nowhere else, and a test holds this file to what
`save_pretrained` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ExpectedKeys:
    """Shape by key; those in `tied` may be absent, as they share a tensor with another key."""

    shapes: dict[str, tuple[int, ...]]
    tied: frozenset[str]


def expected_keys(model: Any) -> ExpectedKeys:
    """What `model.save_pretrained` would write. The model may be on torch's meta device."""
    state = model.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    for key, tensor in state.items():
        first.setdefault(id(tensor), key)
    alone = {key: state[key] for key in first.values()}
    written = _as_saved(model, state)
    shapes = {key: tuple(tensor.shape) for key, tensor in written.items()}
    return ExpectedKeys(shapes, frozenset(shapes.keys() - _as_saved(model, alone).keys()))


def _as_saved(model: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The state dict under the keys, and in the pieces, that a checkpoint has."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before version 5 they were the same
        return state
    plain = {key: tensor.detach() for key, tensor in state.items()}
    saved: dict[str, Any] = revert_weight_conversion(model, plain)
    return saved
