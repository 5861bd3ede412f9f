"""A mapping's example as a real checkpoint: small, and the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mapengine.binding.names import Settings
from mapengine.checkpoints.config_text import config_text
from mapengine.checkpoints.strided import seen
from mapengine.formats import FORMATS
from mapengine.language.mapping import Layout, Mapping
from mapengine.planning.example import DTYPE, example_settings, make_example, must_be_zero
from mapengine.specs import DTYPES, SUFFIXES


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
                values = np.frombuffer(noise(example.like[name, key], stored.spec.numel), np.int16)
                for view in zeros:
                    if view.source is stored:
                        seen(view, values)[...] = 0
                file.seek(offsets[key])
                file.write(values.data)
        format.finish(folder / name, specs)
    for name, config in inventory.configs.items():
        (folder / name).write_text(config_text(name, config, sort=False), encoding="utf-8")
    return example_settings(mapping, layout)


def noise(key: str, count: int) -> bytearray:
    """`count` bfloat16 values from 2**-7 to 2**-5, either sign, decided by the key alone.

    Equal keys give equal values, so replicas of a tensor over ranks agree, as they must.
    """
    bits = hashlib.shake_256(key.encode()).digest(2 * count)
    raw = bytearray(2 * count)
    raw[0::2] = bits[0::2]  # the exponent's last bit, and the mantissa
    raw[1::2] = bytes(byte & 0x80 | 0x3C for byte in bits[1::2])  # sign, and exponent 120 or 121
    return raw


assert DTYPES[DTYPE].size == 2
