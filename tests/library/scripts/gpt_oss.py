"""No script makes bfloat16 of these files; transformers does when it loads them.

What the four bits stand for is written out here, from the definition of the format.
"""

import torch
from scripts import rewrite

MAGNITUDES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]


def convert(source, output):
    rewrite(source, output, tensors, config)


def tensors(stored):
    made = {}
    for key, tensor in stored.items():
        if key.endswith("_blocks"):
            name = key.removesuffix("_blocks")
            rows = numbers(tensor, stored[f"{name}_scales"])
            made[name] = rows.transpose(1, 2).contiguous()  # as inputs multiply them
        elif not key.endswith("_scales"):
            made[key] = tensor
    return made


def config(read):
    del read["quantization_config"]
    return read | {"torch_dtype": "bfloat16"}


def numbers(blocks, scales):
    """A bit of sign and three of magnitude, the low half of a byte first, scaled by a power."""
    halves = torch.stack([blocks % 16, blocks // 16], dim=-1).flatten(-2).long()
    values = torch.tensor(MAGNITUDES)[halves % 8] * (1 - 2 * (halves // 8))
    powers = torch.tensor(2.0, dtype=torch.float64) ** (scales.double() - 127)
    return (values.double() * powers[..., None]).bfloat16().flatten(-2)
