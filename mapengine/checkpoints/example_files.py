"""A mapping's example as a real checkpoint: small, and the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mapengine.binding.names import Settings
from mapengine.checkpoints.config_text import config_text
from mapengine.formats import FORMATS
from mapengine.language.mapping import Layout, Mapping
from mapengine.planning.example import DTYPE, example_settings, make_example
from mapengine.specs import DTYPES, SUFFIXES


def write_example(mapping: Mapping, layout: Layout, folder: Path) -> Settings:
    """Writes the example into an empty folder; what must be set to run it is returned.

    The values of the tensors depend on their keys alone, so every run gives the same files.
    """
    example = make_example(mapping, layout)
    inventory = example.inventory
    for name, contents in inventory.files.items():
        specs = {key: stored.spec for key, stored in contents.tensors.items()}
        format = FORMATS[SUFFIXES.get(Path(name).suffix, "safetensors")]
        offsets = format.create(folder / name, specs, {"format": "pt"}, contents.objects)
        with (folder / name).open("r+b") as file:
            for key, spec in specs.items():
                file.seek(offsets[key])
                file.write(noise(example.like[name, key], spec.numel))
        format.finish(folder / name, specs)
    for name, config in inventory.configs.items():
        (folder / name).write_text(config_text(name, config, sort=False), encoding="utf-8")
    return example_settings(mapping, layout)


def noise(key: str, count: int) -> bytes:
    """`count` bfloat16 values from 2**-7 to 2**-5, either sign, decided by the key alone.

    Equal keys give equal values, so replicas of a tensor over ranks agree, as they must.
    """
    bits = hashlib.shake_256(key.encode()).digest(2 * count)
    raw = bytearray(2 * count)
    raw[0::2] = bits[0::2]  # the exponent's last bit, and the mantissa
    raw[1::2] = bytes(byte & 0x80 | 0x3C for byte in bits[1::2])  # sign, and exponent 120 or 121
    return bytes(raw)


assert DTYPES[DTYPE].size == 2
