"""The model card of an output: what it is, what it was made from, what is not there.

The front matter is that of the Hub's model cards,
https://huggingface.co/docs/hub/model-cards#model-card-metadata.
"""

from __future__ import annotations

from collections import Counter

import yaml

from mapengine import __version__
from mapengine.planning.plan import Plan

_NEEDED = ("token", "vocab", "merges", "spiece", "sentencepiece", "bpe", "processor")
_WARNING = """
There is no tokenizer and no processor here, for none lay beside the source: the model runs, and
text or pictures cannot be put into it before they are added.
"""


def lacks_tokenizer(plan: Plan) -> bool:
    """Whether no file of the output looks like a tokenizer's or a processor's."""
    return not any(word in name for name in plan.companions for word in _NEEDED)


def card_text(plan: Plan) -> str:
    """The card of what a plan writes. The same plan has the same card: no date, no path."""
    head = {"library_name": "transformers", "tags": ["mapengine"]}
    tensors = [tensor.spec for shard in plan.shards for tensor in shard.tensors]
    dtypes = Counter(spec.dtype for spec in tensors)
    chain = [plan]
    while before := chain[0].after:
        chain.insert(0, before)
    by = ", then ".join(f"`{one.mapping.name}` (SHA-256 {one.mapping.sha256})" for one in chain)
    rows = {
        "mapping": by,
        "tensors": f"{len(tensors):,}, of {sum(spec.numel for spec in tensors):,} elements",
        "dtypes": ", ".join(f"{dtype} ({count:,})" for dtype, count in sorted(dtypes.items())),
        "files of tensors": f"{len(plan.shards):,}, {plan.bytes_written:,} bytes of tensors",
        "carried over": ", ".join(f"`{name}`" for name in plan.companions) or "nothing",
    }
    table = "".join(f"| {name} | {text} |\n" for name, text in rows.items())
    return f"""\
---
{yaml.safe_dump(head, sort_keys=False)}---

# {plan.model}

{chain[0].mapping.title}. Converted by mapengine {__version__}: nothing was trained, and the licence
and the limits of the weights are those of the checkpoint it was made from.

| | |
|---|---|
{table}
Every tensor of the source was used or is named in the mapping as left out, and every tensor here
was made once. `mapengine.json` holds the mapping and what was read; `mapengine verify .` checks
this folder.
{_WARNING if lacks_tokenizer(plan) else ""}"""
