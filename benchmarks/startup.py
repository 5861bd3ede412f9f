"""Whole processes that hardly do anything, against an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import checkpoints
from benchmarks.bench import MAPPING, Bench, Contestant, conversion, engine
from benchmarks.checkpoints import Model
from benchmarks.rows import Row
from mapengine.report.units import size_text

TINY = Model(hidden=80, ffn=56, layers=3, heads=5, kv_heads=1, experts=5, vocab=128)
PAIRS = 10
HEAVY = ("torch", "transformers", "numpy", "huggingface_hub", "jsonschema", "jinja2", "xxhash",
         "yaml")  # fmt: skip
_WHAT_IS_LOADED = """\
import sys
from mapengine import cli
sys.argv = ["mapengine", *sys.argv[2:]]
sys.stdout = sys.stderr
cli.invoke()
print("\\nloaded:", *(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def commands(source: Path, converted: Path, folder: Path) -> dict[str, tuple[float, list[str]]]:
    """Every command that can be used without a network: its budget in seconds, and its words."""
    key = "model.layers.1.self_attn.k_proj.weight"
    listed: list[tuple[float, Sequence[object]]] = [
        (0.1, ["--help"]), (0.1, ["--version"]), (0.1, ["run", "--help"]), (0.1, ["list"]),
        (0.1, ["schema"]), (0.1, ["rule", "ME301"]), (0.1, ["cp", "mixtral", folder / "a.yaml",
                                                           "--overwrite"]),
        (0.25, ["env"]), (0.25, ["validate", MAPPING]), (0.25, ["explain", "ops.split"]),
        (0.25, ["explain", MAPPING, key]), (0.25, ["graph", MAPPING]),
        (0.25, ["report", MAPPING, "-o", folder / "report.html"]),
        (0.3, ["inspect", source]), (0.3, ["diff", source, source]),
        (2.0, ["diff", MAPPING, MAPPING]), (2.0, ["validate", "--prove", MAPPING]),
        (2.0, ["plan", MAPPING]), (2.0, ["plan", MAPPING, "-s", source]),
        (2.0, ["diff", "--values", source, source]),
        (2.0, ["init", "-s", converted, "-t", converted]), (4.0, ["infer", source, converted]),
        (4.0, ["verify", converted]),
    ]  # fmt: skip
    told = {}
    for budget, words in listed:
        short = " ".join(w.name if isinstance(w, Path) else str(w) for w in words)
        told[f"mapengine {short}"] = budget, [str(word) for word in words]
    return told


def rows(bench: Bench) -> Iterator[Row]:
    """Every command, and a run in which nearly all is start-up: wall time, then processor time."""
    place = bench.places[0]
    source = checkpoints.write(TINY, "C", place.folder / "tiny")
    converted = place.folder / "tiny-converted"
    subprocess.run(engine("run", MAPPING, "-s", source, "-o", converted, "-q"), check=True)
    nothing = Contestant([sys.executable, "-c", "pass"])
    run = conversion(source, place.folder / "ours")
    contestants = {
        f"{name} [{' '.join(_loaded(words)) or 'nothing'}]": (budget, Contestant(engine(*words)))
        for name, (budget, words) in commands(source, converted, place.folder).items()
    }
    contestants[f"mapengine run of {size_text(TINY.nbytes)}"] = 2.0, run
    group = "Start-up, the whole process / python -c pass [what is loaded]"
    processors = []
    for name, (budget, one) in contestants.items():
        pairs = bench.alternate("start-up", one, nothing, pairs=PAIRS)
        yield Row(group, name, place.name, *pairs.values("seconds"), budget=budget)
        used = pairs.values("processor_seconds")
        processors.append(Row(f"{group}: processor time", name, place.name, *used, budget=budget))
    yield from processors


def _loaded(words: Sequence[str]) -> list[str]:
    """The heavy packages that a command has imported at its end."""
    code = _WHAT_IS_LOADED.format(heavy=HEAVY)
    command = [sys.executable, "-c", code, "mapengine", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    return done.stderr.splitlines()[-1].removeprefix("loaded:").split()
