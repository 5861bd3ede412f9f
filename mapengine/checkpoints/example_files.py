"""A mapping's example as a real checkpoint: small, and the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mapengine.binding.names import Settings
from mapengine.checkpoints.arena import Array
from mapengine.checkpoints.config_text import config_text
from mapengine.checkpoints.strided import seen
from mapengine.formats import FORMATS
from mapengine.language.mapping import Layout, Mapping
from mapengine.planning.example import example_settings, make_example, must_be_zero
from mapengine.specs import DTYPES, SUFFIXES, TensorSpec


def write_example(mapping: Mapping, layout: Layout, folder: Path) -> Settings:
    """Writes the example into an empty folder; what must be set to run it is returned.

    The values of the tensors depend on their keys alone, so every run gives the same files.
    """
    example = make_example(mapping, layout)
    inventory = example.inventory
    zeros = must_be_zero(mapping, layout, inventory)
    for name, contents in inventory.files.items():
        specs = {key: stored.spec for key, stored in contents.tensors.items()}
        format = FORMATS[SUFFIXES.get(Path(name).suffix, "safetensors")]
        offsets = format.create(folder / name, specs, {"format": "pt"}, contents.objects)
        with (folder / name).open("r+b") as file:
            for key, stored in contents.tensors.items():
                values = noise(example.like[name, key], stored.spec)
                for view in zeros:
                    if view.source is stored:
                        seen(view, values)[...] = 0
                file.seek(offsets[key])
                file.write(values.data)
        format.finish(folder / name, specs)
    for name, config in inventory.configs.items():
        (folder / name).write_text(config_text(name, config, sort=False), encoding="utf-8")
    return example_settings(mapping, layout)


_NOISE = {  # of an element's bits those that vary, and those that are set
    "bool": (0x1, 0),
    "uint8": (0xBF, 0),
    "float8_e4m3fn": (0xBF, 0),
    "float8_e5m2": (0xBF, 0),
    "float8_e8m0fnu": (0xBF, 0),
    "float16": (0x87FF, 0x2000),
    "bfloat16": (0x80FF, 0x3C00),
    "float32": (0x80FFFFFF, 0x3C000000),
    "complex64": (0x80FFFFFF80FFFFFF, 0x3C0000003C000000),
    "float64": (0x801FFFFFFFFFFFFF, 0x3F80000000000000),
}
"""Floats from 2**-7 to 2**-5 of either sign, with every mantissa; those of one byte are below 2.

Exponents, also those stored as plain bytes, are below 65: to scale by them gives no infinity.
"""


def noise(key: str, spec: TensorSpec) -> Array:
    """Values for a tensor, decided by its key alone, as integers of its elements' size.

    Equal keys give equal values, so replicas of a tensor over ranks agree, as they must.
    """
    size = DTYPES[spec.dtype].size
    varying, fixed = _NOISE.get(spec.dtype, (2 ** (8 * size) - 1, 0))
    bits = np.frombuffer(hashlib.shake_256(key.encode()).digest(spec.nbytes), f"<u{size}")
    values: Array = bits & bits.dtype.type(varying) | bits.dtype.type(fixed)
    return values
