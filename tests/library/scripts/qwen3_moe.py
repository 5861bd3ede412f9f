"""No script fuses these experts; transformers 5 does when it loads them.

Written out here, from the order in which its model takes them apart again: of each expert first
all rows of gate, then those of up.
"""

import torch
from scripts import rewrite


def convert(source, output):
    rewrite(source, output, tensors, config)


def tensors(stored):
    made = {key: tensor for key, tensor in stored.items() if ".experts." not in key}
    layers = {key.split(".experts.")[0] for key in stored if ".experts." in key}
    for layer in layers:
        count = sum(key.startswith(f"{layer}.experts.") for key in stored) // 3
        gate, up, down = (
            torch.stack([stored[f"{layer}.experts.{i}.{name}_proj.weight"] for i in range(count)])
            for name in ("gate", "up", "down")
        )
        made[f"{layer}.experts.gate_up_proj"] = torch.cat([gate, up], dim=1)
        made[f"{layer}.experts.down_proj"] = down
    return made


def config(read):
    """In the words of version 4, whichever it was read in."""
    words = dict(read, torch_dtype="bfloat16")
    words.pop("dtype", None)
    if "num_local_experts" in words:
        words["num_experts"] = words.pop("num_local_experts")
    rope = words.pop("rope_parameters", {})
    words.setdefault("rope_theta", rope.pop("rope_theta", None))
    words.setdefault(
        "rope_scaling", rope if rope.get("rope_type", "default") != "default" else None
    )
    return words
