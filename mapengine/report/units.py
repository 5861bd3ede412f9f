"""Numbers as people read and write them. Units are decimal, as on the Hub: 1 GB is 10⁹ bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def size_text(count: int) -> str:
    """`4.6 GB`."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def parse_size(text: str) -> int:
    """`5GB`, `512 MB`, `1000`: a number of bytes. Raises `ValueError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text, re.IGNORECASE)
    unit = match[2].upper() if match else ""
    if match is None or (unit and unit not in _UNITS):
        raise ValueError(f"{text!r} is not a size like 5GB, 512MB or 1000")
    return int(float(match[1]) * _UNITS[unit])
