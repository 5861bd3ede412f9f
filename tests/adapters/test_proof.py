"""Merging an adapter and mapping commute, on the example of every mapping that ships."""

import pytest

from mapengine import api
from mapengine.planning.lints import one_way
from tests.adapters import making

TOLERANCE = 1e-5
NO_FACTORS = {"copy", "dequantize", "mean", "pad", "same", "stack", "unpad", "unstack"}
"""Ops that may stand in the way of factors; all others move rows, columns or scales."""


def layouts(mapping):
    """One layout for each set of rules."""
    found = {}
    for layout in mapping.layouts():
        found.setdefault(tuple(r.path for r in mapping.rules if r.holds_in(layout)), layout)
    return found.values()


CASES = [
    pytest.param(name, layout, reverse, id=f"{name}-{'+'.join(sorted(layout))}-{word}")
    for name, path in api.shipped_mappings().items()
    for layout in layouts(api.load(path))
    for reverse, word in ((False, "there"), (True, "back"))
    if not (reverse and any(one_way(r for r in api.load(path).rules if r.holds_in(layout))))
]


def may_be_refused(rule):
    """What has no factors on one side: a constant, a vector, no module's weight."""
    keys = (*rule.sources, *rule.targets)
    ops = {call.name for call in rule.ops}
    return (
        bool(ops & NO_FACTORS)
        or rule.constant is not None
        or any(len(shape) < 2 for shape in rule.shapes)
        or not all(key.text.endswith(".weight") for key in keys)
    )


@pytest.mark.parametrize("name, layout, reverse", CASES)
def test_merging_then_mapping_is_mapping_then_merging(name, layout, reverse, tmp_path):
    job = making.example(name, layout, reverse, tmp_path)
    weights = making.Checkpoint.read_by(api.plan(job), job.folder).load()
    found, refused = making.groups(job, weights, tmp_path)
    assert [str(why) for rule, why in refused if not may_be_refused(rule)] == []
    for number, modules in enumerate(found):
        ranks = {modules[0]: 3, modules[-1]: 5}
        lora = making.random_lora(weights, modules, ranks=ranks)
        then, now, new = making.both_ways(job, lora, tmp_path / f"group{number}")
        assert making.deviation(then, now) < TOLERANCE
        assert making.deviation(new.merged(now), now) > 100 * TOLERANCE  # an update that tells
