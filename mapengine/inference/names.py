"""How alike two names are, as the words that they are made of."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")

_NOTHING = frozenset({"n", "num", "number", "of", "the", "id", "config", "args", "model", "weight"})
_SAME = {
    "embd": "embed", "emb": "embed", "embedding": "embed", "tok": "token", "wte": "embed",
    "attn": "attention", "pos": "position", "ctx": "position", "context": "position",
    "length": "position", "seq": "position", "eps": "epsilon",
    "size": "dim", "width": "dim", "d": "dim", "ln": "norm", "layernorm": "norm", "rms": "norm",
    "intermediate": "ffn", "mlp": "ffn", "feed": "ffn", "forward": "ffn", "inner": "ffn",
    "ff": "ffn",
    "act": "activation", "pdrop": "dropout", "drop": "dropout", "std": "range", "base": "theta",
    "block": "layer", "h": "layer", "wq": "query", "q": "query", "wk": "key", "k": "key",
    "wv": "value", "v": "value", "wo": "out", "o": "out", "output": "out", "dense": "proj",
    "moe": "expert", "topk": "top", "tie": "tied", "tying": "tied", "word": "embed",
    "router": "gate", "depth": "layer",
}  # fmt: skip


@lru_cache(maxsize=65536)
def words(name: str) -> frozenset[str]:
    """The words of a name, in one form each; `kv` is the key and the value."""
    found = set[str]()
    for word in _WORDS.findall(name.replace("qkv", "q_kv").replace("kv", "key_value_")):
        plain = word.lower()
        many = plain.endswith("s") and len(plain) > 3 and plain[-2] not in "su"
        single = plain[:-1] if many else plain
        found.add(_SAME.get(single, single))
    kept = found - _NOTHING
    return frozenset(kept or found)


@lru_cache(maxsize=65536)
def shared(one: str, other: str) -> float:
    """The part of their words that two names share, from 0 to 1."""
    a, b = words(one), words(other)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0


@lru_cache(maxsize=65536)
def likeness(one: str, other: str) -> float:
    """From 0 for names with nothing in common to 1 for the same name."""
    if one == other:
        return 1.0
    return (
        0.75 * shared(one, other) + 0.24 * SequenceMatcher(None, one.lower(), other.lower()).ratio()
    )
