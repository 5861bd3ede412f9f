"""Runs a mapping that was inferred, and compares what it makes with what it is to make."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from mapengine import api
from mapengine.binding.config_values import equal, told
from mapengine.errors import MapengineError, Problem
from mapengine.inference.contents import Checkpoint, read_checkpoint
from mapengine.inference.fields import leaves
from mapengine.inference.sample import Sample


def check(mapping: Path, source: Path, target: Checkpoint) -> tuple[list[str], tuple[Problem, ...]]:
    """The differences between the target and what the mapping makes of the source.

    Where it cannot be run, the problems with it.
    """
    with tempfile.TemporaryDirectory(prefix="mapengine-infer-") as place:
        made = Path(place) / "made"
        try:
            api.run(api.Job(mapping, source), made, sync=False)
            return list(differences(read_checkpoint(made), target)), ()
        except MapengineError as error:
            return [], error.problems


def differences(made: Checkpoint, target: Checkpoint) -> Iterator[str]:
    """What of two checkpoints is not equal: keys, dtypes, shapes, bits, and config values."""
    ours, theirs = Sample(made), Sample(target)
    for address in target.tensors.keys() - made.tensors.keys():
        yield f"{address.key} is not made"
    for address in made.tensors.keys() - target.tensors.keys():
        yield f"{address.key} is made, and is not in the target"
    for address in sorted(made.tensors.keys() & target.tensors.keys()):
        if made.spec(address) != target.spec(address):
            yield f"{address.key} is {made.spec(address)}, not {target.spec(address)}"
        elif ours.digest(address) != theirs.digest(address):
            yield f"{address.key} has other values"
    one = {leaf.path: leaf.value for leaf in leaves(made)}
    other = {leaf.path: leaf.value for leaf in leaves(target)}
    for path in sorted(one.keys() | other.keys()):
        if path not in one:
            yield f"config: {path} is not written"
        elif path not in other:
            yield f"config: {path} is written, and is not in the target"
        elif not equal(one[path], other[path]):
            yield f"config: {path} is {told(one[path])}, not {told(other[path])}"
