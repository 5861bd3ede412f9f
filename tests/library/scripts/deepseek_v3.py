"""DeepSeek's own script, inference/fp8_cast_bf16.py, calls a kernel that runs on no CPU.

What it defines is written out here: of each block of 128 rows and columns the weights times the
block's scale, in float32, rounded to bfloat16.
"""

import torch
from scripts import rewrite

BLOCK = 128


def convert(source, output):
    rewrite(source, output, tensors, config)


def tensors(stored):
    made = {key: tensor for key, tensor in stored.items() if not key.endswith("_scale_inv")}
    return {
        key: numbers(tensor, stored[f"{key}_scale_inv"]) if tensor.element_size() == 1 else tensor
        for key, tensor in made.items()
    }


def config(read):
    """The script keeps the layer that predicts a second token; it is left behind here."""
    del read["quantization_config"]
    return read | {"num_nextn_predict_layers": 0, "torch_dtype": "bfloat16"}


def numbers(weight, scale):
    result = torch.empty(weight.shape, dtype=torch.bfloat16)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            rows = slice(i * BLOCK, (i + 1) * BLOCK)
            columns = slice(j * BLOCK, (j + 1) * BLOCK)
            result[rows, columns] = (weight[rows, columns].float() * scale[i, j]).bfloat16()
    return result
