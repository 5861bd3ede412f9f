"""Config fields and names for all that was found: what a mapping says beside its rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mapengine.inference.contents import Checkpoint
from mapengine.inference.fields import (
    Field,
    Fields,
    Leaf,
    computed,
    constant,
    leaves,
    named_source,
    paired,
)
from mapengine.inference.files import NO_RANK
from mapengine.inference.indices import Indices
from mapengine.inference.names import likeness, shared, words
from mapengine.inference.numbers import Numbers
from mapengine.inference.rules import Rule
from mapengine.inference.steps import Op
from mapengine.specs import DTYPES

_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEAST = 5
"""The least number that an axis of a tensor explains: smaller ones are everywhere."""
_PRODUCTS = frozenset({"dim", "ffn", "vocab", "head", "expert", "hidden"})


def fields_for(
    source: Checkpoint, target: Checkpoint, rules: Sequence[Rule], indices: Indices
) -> tuple[Fields, Numbers]:
    """The fields of the mapping, and the names of numbers."""
    ours, theirs = leaves(source), leaves(target)
    fields, left = paired(ours, theirs)
    used = {one.source for one in fields.listed.values()}
    for leaf in ours:
        if leaf.path not in used:
            named_source(fields, leaf)
    ranks = len({address.rank for address in source.tensors if address.rank != NO_RANK})
    if ranks:
        fields.listed["ranks"] = Field("ranks", ranks, compute=_ranks(source))
    left = [leaf for leaf in left if not _dtype(fields, leaf, rules, source, target)]
    left = [leaf for leaf in left if not _counted(fields, leaf, rules, indices)]
    left = [leaf for leaf in left if not _measured(fields, leaf, rules, source)]
    for leaf in left:
        if not _worked_out(fields, leaf):
            constant(fields, leaf)
    _add_head_dim(fields)
    numbers = Numbers(_whole(fields), {name for name, one in fields.listed.items() if one.targets})
    for one in fields.listed.values():
        numbers.used.update(set(_NAMES.findall(one.compute or "")) & fields.listed.keys())
    return fields, numbers


def _whole(fields: Fields) -> dict[str, int]:
    return {
        name: one.value
        for name, one in fields.listed.items()
        if isinstance(one.value, int) and not isinstance(one.value, bool) and one.value > 0
        if one.source or one.compute
    }


def _add_head_dim(fields: Fields) -> None:
    """What one head has of the hidden size, where no config says it: it is in many shapes."""
    listed = fields.listed
    if any(words(name) >= {"head", "dim"} for name in listed):
        return
    whole = _whole(fields)
    heads = [n for n in whole if words(n) == {"head", "attention"} or words(n) == {"head"}]
    hidden = [n for n in whole if words(n) == {"hidden", "dim"} or n in ("d_model", "n_embd")]
    if len(heads) == len(hidden) == 1 and whole[hidden[0]] % whole[heads[0]] == 0:
        value = whole[hidden[0]] // whole[heads[0]]
        listed["head_dim"] = Field("head_dim", value, compute=f"{hidden[0]} // {heads[0]}")


def _ranks(source: Checkpoint) -> str:
    entry = next(entry for entry in source.entries if entry.rank is not None)
    first = source.entries[entry][0]
    holes = [
        (f"{{rank:0{width}}}" if width > 1 else "{rank}")
        if place == entry.rank
        else f"{first[place]:0{width}}"
        for place, width in enumerate(entry.widths)
    ]
    return f"count('{entry.pattern.format(*holes)}')"


def _plain(rules: Iterable[Rule]) -> Iterable[Rule]:
    """Rules with one source tensor for each index: those can be asked for by key."""
    for rule in rules:
        family = rule.first.instance.sources[0] if rule.first.instance.sources else None
        ranked = family is not None and family.pattern.ranked
        if family and len(rule.sources) == 1 and len(family.fans) <= ranked:
            yield rule


def _dtype(
    fields: Fields, leaf: Leaf, rules: Sequence[Rule], source: Checkpoint, target: Checkpoint
) -> bool:
    """A word for the dtype that the tensors have."""
    if not isinstance(leaf.value, str) or leaf.value not in DTYPES or "dtype" not in leaf.word:
        return False
    for rule in sorted(rules, key=lambda one: one.count):
        one = rule.first.instance
        if not one.sources or target.spec(one.targets[0].members()[0]).dtype != leaf.value:
            continue
        address = one.sources[0].members()[0]
        if source.spec(address).dtype == leaf.value or rule.ops[:1] == (
            Op("cast", word=leaf.value),
        ):
            computed(fields, leaf, f"dtype('{address.key}')")
            return True
    return False


def _counted(fields: Fields, leaf: Leaf, rules: Sequence[Rule], indices: Indices) -> bool:
    """How many layers, or experts, there are, where the keys alone say it."""
    if isinstance(leaf.value, bool) or not isinstance(leaf.value, int):
        return False
    for name, size in indices.sizes.items():
        if size == leaf.value and words(name) & words(leaf.word):
            for rule in _plain(rules):
                if rule.count == size and f"{{{name}" in rule.sources[0] and not rule.conditions:
                    computed(fields, leaf, f"count('{rule.sources[0]}')")
                    return True
    return False


def _measured(fields: Fields, leaf: Leaf, rules: Sequence[Rule], source: Checkpoint) -> bool:
    """A number that is a size of a source tensor, and of what is made of it."""
    value = leaf.value
    if isinstance(value, bool) or not isinstance(value, int) or value < _LEAST:
        return False
    if any(one.source and one.targets and one.value == value for one in fields.listed.values()):
        return False
    if not words(leaf.word) & (
        _PRODUCTS | {"patch", "channel", "label", "state", "kernel", "position"}
    ):
        return False
    found = []
    for rule in _plain(rules):
        address = rule.first.instance.sources[0].members()[0]
        cut = {op.dim for op in rule.ops if op.name == "concat" and op.fan == "rank"}
        ranks = max(one.rank for one in source.tensors) + 1
        for axis, size in enumerate(source.spec(address).shape):
            if size * (ranks if axis in cut else 1) == value:
                text = f"size('{address.key}', {axis})"
                text = f"ranks * {text}" if axis in cut else text
                near = likeness(f"{address.key} {rule.targets[0]}", leaf.word)
                found.append((near, -axis, text))
    if found:
        computed(fields, leaf, max(found)[2])
    return bool(found)


def _worked_out(fields: Fields, leaf: Leaf) -> bool:
    """A number that is made of two others: what one head has of the hidden size, say."""
    value = leaf.value
    if isinstance(value, bool) or not isinstance(value, int) or value < _LEAST:
        return False
    if not words(leaf.word) & _PRODUCTS:
        return False
    made = Numbers(_whole(fields)).expression(value, leaf.word)
    if made.text == str(value) or (made.atom and not shared(made.text, leaf.word)):
        return False
    others = "".join(f", so is {other}" for other in made.others)
    note = f"it fits this example{others}"
    computed(fields, leaf, made.text, note)
    return True
