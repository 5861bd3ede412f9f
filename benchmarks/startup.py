"""Whole processes that hardly do anything, against an interpreter that does nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks import checkpoints
from benchmarks.bench import MAPPING, Bench, Contestant, conversion, engine
from benchmarks.checkpoints import Model
from benchmarks.rows import Row
from mapengine.report.units import size_text

TINY = Model(hidden=80, ffn=56, layers=3, heads=5, kv_heads=1, experts=5, vocab=128)


def rows(bench: Bench) -> Iterator[Row]:
    """The light commands, and a run in which nearly all is start-up."""
    group = "Start-up, the whole process / python -c pass"
    folder = bench.places[0].folder
    source = checkpoints.write(TINY, "C", folder / "tiny")
    contestants = {
        "mapengine --help": Contestant(engine("--help")),
        "mapengine list": Contestant(engine("list")),
        "mapengine validate mixtral.yaml": Contestant(engine("validate", MAPPING)),
        f"mapengine run of {size_text(TINY.nbytes)}, safetensors": conversion(
            source, folder / "ours"
        ),
    }
    nothing = Contestant([sys.executable, "-c", "pass"])
    for name, contestant in contestants.items():
        pairs = bench.alternate("start-up", contestant, nothing)
        yield Row(group, name, bench.places[0].name, *pairs.values("seconds"))
