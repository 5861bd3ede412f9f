"""Changes to good inputs that are most likely to find what a reader did not think of."""

import copy
import random
from collections.abc import Sequence
from typing import Any

NUMBERS = [0, 1, 2, 4, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1,
           2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**40, -1, -2, -(2**63)]  # fmt: skip
STRANGE: list[Any] = [
    *NUMBERS, None, True, False, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", "x", "..", "/",
    "../x.pt", "/etc/passwd", "a\0b", "a\nb", "\x1b[31m", "\u202e", "e\u0301", "\ud800", "9" * 5000,
    "k" * 70_000, "{layer}", "{", "}", "->", "a -> b", "9**9**9", "layers * layers", "null",
    "F32", "BF16", "model.safetensors", [], {}, [[]], [{}], {"": {}}, [0, 0], [0, 2**62], ["a"],
    {"a": 1}, {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, [[[[[[[[]]]]]]]],
]  # fmt: skip


def changed_bytes(data: bytes, chance: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """A copy with one to four places changed, taken out, doubled, exchanged or put in."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        at = chance.randrange(len(data) + 1)
        size = min(chance.choice((1, 1, 2, 4, 8, 30, 200)), len(data) - at)
        before, here, behind = data[:at], data[at : at + size], data[at + size :]
        match chance.randrange(8):
            case 0:
                here = bytes(byte ^ (1 << chance.randrange(8)) for byte in here[:1]) + here[1:]
            case 1:
                here = chance.randbytes(len(here))
            case 2:
                here = b""
            case 3:
                here += here
            case 4:
                here = chance.choice(words) if words else b"\0" * size
            case 5:
                width = chance.choice((1, 2, 4, 8))
                number = chance.choice(NUMBERS) % 2 ** (8 * width)
                here = number.to_bytes(width, "little")
                behind = data[at + width :]
            case 6:
                other = chance.randrange(len(data) + 1)
                here = data[other : other + size] + here
            case _:
                behind = behind if chance.randrange(4) else b""
        data = before + here + behind
    return data


def changed_value(data: Any, chance: random.Random, strange: Sequence[Any] = STRANGE) -> Any:
    """A copy of nested dicts and lists with one to three values changed, gone, or elsewhere."""
    data = [copy.deepcopy(data)]
    for _ in range(chance.randint(1, 3)):
        parent, key = chance.choice(list(_places(data)))
        match chance.randrange(5):
            case 0 if parent is not data:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[str(chance.choice(strange))] = parent.pop(key)
            case 2:
                other, at = chance.choice(list(_places(data)))
                parent[key] = copy.deepcopy(other[at])
            case 3 if isinstance(parent[key], dict | list) and parent[key]:
                _add(parent[key], copy.deepcopy(chance.choice(strange)), chance)
            case _:
                parent[key] = copy.deepcopy(chance.choice(strange))
        if not data:
            data = [None]
    return data[0]


def _add(inner: Any, value: Any, chance: random.Random) -> None:
    if isinstance(inner, dict):
        inner[f"new{chance.randrange(9)}"] = value
    else:
        inner.insert(chance.randrange(len(inner) + 1), value)


def _places(parent: Any) -> Any:
    """Every value, as what it lies in and its key there."""
    for key in list(parent) if isinstance(parent, dict) else range(len(parent)):
        yield parent, key
        if isinstance(parent[key], dict | list):
            yield from _places(parent[key])


def changed_text(text: str, chance: random.Random, words: Sequence[str]) -> str:
    """A copy with lines and words gone, doubled, exchanged or from elsewhere."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(9):
            case 0:
                del lines[at : at + chance.choice((1, 1, 3))]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = chance.choice(("  ", " ", "\t")) + lines[at]
            case 4:
                lines[at] = lines[at].removeprefix("  ")
            case 5 | 6:
                parts = lines[at].split(" ")
                parts[chance.randrange(len(parts))] = chance.choice(words)
                lines[at] = " ".join(parts)
            case _:
                column = chance.randrange(len(lines[at]) + 1)
                cut = column + chance.choice((0, 0, 1, 2))
                lines[at] = lines[at][:column] + chance.choice(words) + lines[at][cut:]
    return "\n".join(lines)
