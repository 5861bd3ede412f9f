"""How a run scales: a model of it, and what it predicts held against what is measured.

python -m benchmarks.scaling [--size 512MB] [--pairs 3] [--ray] [--folder DIR]

Storage is slowed down to a stated speed (`benchmarks.slow`), so that a few cores can stand for
several machines: what is shared between them is the storage, and that is what limits them.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
from safetensors.torch import save_file

from mapengine.report.units import parse_size, size_text

MAPPING = """\
mapengine: 1
name: scaling
source: {tensors: model.safetensors, config: config.json}
target: {tensors: model.safetensors, config: config.json}
config: {layers: {source: layers, target: layers}}
dims: {layer: layers}
tensors:
  - layers.{layer}.plain -> blocks.{layer}.plain
  - layers.{layer}.turned -> blocks.{layer}.turned: {ops: [{transpose: [0, 1]}]}
"""
ROWS = 2048
SHARD = 2 * 2 * ROWS * ROWS
"""Bytes of a shard: a layer, of two matrices of 16-bit elements."""


@dataclass(frozen=True)
class Storage:
    """What moves a byte. Rates in bytes a second, both ways together; the price of a request."""

    node: float
    """What one node's connection carries."""
    total: float
    """What the storage gives to all nodes together."""
    block: float = 8e6
    """Bytes of a request."""
    requests: float = math.inf
    """Requests to write that it takes in a second."""
    price: float = 0.0
    """Of a request, reading and writing alike."""


@dataclass(frozen=True)
class Node:
    """A machine: the bytes a second that its cores put in order, and what an hour of it costs."""

    rate: float
    price: float = 0.0
    begin: float = 1.5
    """Seconds until it begins: a process, the libraries, the plan. And to publish takes as long."""


@dataclass(frozen=True)
class Predicted:
    seconds: float
    limit: str
    cost: float


def predict(nbytes: float, shard: float, nodes: int, node: Node, storage: Storage) -> Predicted:
    """The time and the cost of a run in `nodes` parts.

    A byte is read and written. The part with the most shards ends last; what all move
    together, the storage has to give.
    """
    shards = math.ceil(nbytes / shard)
    most = math.ceil(shards / nodes) * min(shard, nbytes)
    times = {
        "cores": most / node.rate,
        "connection": 2 * most / storage.node,
        "storage": 2 * nbytes / storage.total,
        "requests": nbytes / storage.block / storage.requests,
    }
    limit = max(times, key=lambda name: times[name])
    even = nbytes / nodes
    if limit in ("cores", "connection") and most > 1.1 * even:
        limit += f", {shards} shards on {nodes}"
    seconds = 2 * node.begin + times[limit.split(",")[0]]  # the parts begin, and who publishes
    requests = 2 * nbytes / storage.block
    cost = nodes * node.price * seconds / 3600 + requests * storage.price
    return Predicted(seconds, limit, cost)


class Bench:
    """A checkpoint in a folder, converted in different ways."""

    def __init__(self, home: Path, size: int) -> None:
        self.home = home
        self.layers = max(size // SHARD, 2)
        self.nbytes = self.layers * SHARD
        (home / "scaling.yaml").write_text(MAPPING)
        source = home / "source"
        source.mkdir()
        values = torch.arange(ROWS * ROWS, dtype=torch.float32).reshape(ROWS, ROWS)
        tensors = {}
        for i in range(self.layers):
            for name in ("plain", "turned"):
                tensors[f"layers.{i}.{name}"] = (values + i).to(torch.bfloat16)
        save_file(tensors, source / "model.safetensors")
        (source / "config.json").write_text(json.dumps({"layers": self.layers}))

    def run(self, *more: str, slow: tuple[float, float] | None = None) -> list[str]:
        words = ["run", "scaling.yaml", "-s", "source", "-o", "out", "--no-sync", "--quiet"]
        return self.words(*words, "--max-shard-size", str(SHARD), *more, slow=slow)

    def words(self, *words: str, slow: tuple[float, float] | None = None) -> list[str]:
        if slow is None:
            return [sys.executable, "-m", "mapengine", *words]
        node, total = slow
        return [
            sys.executable,
            "-m",
            "benchmarks.slow",
            str(node),
            str(total),
            "total",
            "--",
            *words,
        ]

    def seconds(self, *steps: list[list[str]]) -> float:
        """How long it takes to do one step after the other, the commands of each at once."""
        for name in ("out", ".out.mapengine"):
            subprocess.run(["rm", "-rf", self.home / name], check=True)
        begun = time.perf_counter()
        for commands in steps:
            started = [subprocess.Popen(words, cwd=self.home) for words in commands]
            codes = [process.wait() for process in started]
            if any(codes):
                raise click.ClickException("a run failed")
        return time.perf_counter() - begun

    def parts(self, nodes: int, slow: tuple[float, float] | None) -> float:
        """A run in parts, all at once, a thread each; then published."""
        parts = [
            self.run("--workers", "1", "--part", f"{number}/{nodes}", slow=slow)
            for number in range(1, nodes + 1)
        ]
        return self.seconds(parts, [self.words("publish", "out", "--no-sync", "--quiet")])


def alternating(ways: dict[str, Callable[[], float]], pairs: int) -> dict[str, list[float]]:
    """The seconds of each way, one after the other and again: the machine may change its mind."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, way in ways.items():
            found[name].append(way())
    return found


def held_against(bench: Bench, pairs: int, speeds: tuple[float, float]) -> None:
    """Parts on slowed storage: the seconds measured, and those that the model predicts."""
    node, total = speeds
    nodes = [count for count in (1, 2, 4, 8) if count <= bench.layers]
    ways = {str(n): partial(bench.parts, n, speeds) for n in nodes}
    found = alternating({"begin": partial(bench.parts, 1, (1e12, 1e12)), **ways}, pairs)
    begin = statistics.median(found.pop("begin")) / 2
    click.echo(f"storage: {size_text(int(node))}/s a process, {size_text(int(total))}/s for all")
    click.echo("| processes | measured | predicted | measured / predicted | limit |")
    click.echo("|---|---|---|---|---|")
    for name, seconds in found.items():
        machine = Node(rate=math.inf, begin=begin)
        told = predict(bench.nbytes, SHARD, int(name), machine, Storage(node, total))
        median = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        click.echo(
            f"| {name} | {median:.1f} s ({spread}) | {told.seconds:.1f} s "
            f"| {median / told.seconds:.2f} | {told.limit} |"
        )


def on_this_machine(bench: Bench, pairs: int, address: str | None) -> None:
    """Threads, processes and, where there is a cluster, its workers: the same cores for each."""
    ways: dict[str, Callable[[], float]] = {}
    for count in (1, 2):
        ways[f"local, {count}"] = partial(bench.seconds, [bench.run("--workers", str(count))])
        ways[f"parts, {count}"] = partial(bench.parts, count, None)
        if address:
            ray = ("--executor", "ray", "--address", address, "--workers", str(count))
            ways[f"ray, {count}"] = partial(bench.seconds, [bench.run(*ray)])
    found = alternating(ways, pairs)
    click.echo(f"{size_text(bench.nbytes)} in {bench.layers} shards")
    click.echo("| workers | seconds | to local with as many |")
    click.echo("|---|---|---|")
    for name, seconds in found.items():
        local = found[f"local, {name.split(', ')[1]}"]
        ratios = [one / other for one, other in zip(seconds, local, strict=True)]
        click.echo(
            f"| {name} | {statistics.median(seconds):.1f} ({min(seconds):.1f} to "
            f"{max(seconds):.1f}) | {statistics.median(ratios):.2f} |"
        )


def terabyte() -> None:
    """What the model says of 1 TB, by node and storage."""
    node = Node(rate=4e9, price=2.0, begin=20)
    stores = {
        "NFS, 1 GB/s": Storage(node=3e9, total=1e9),
        "parallel file system, 40 GB/s": Storage(node=3e9, total=40e9),
        "object store, 100 GB/s": Storage(node=3e9, total=100e9, requests=3500, price=2.7e-6),
    }
    click.echo("| storage | nodes | minutes | dollars | limit |")
    click.echo("|---|---|---|---|---|")
    for name, storage in stores.items():
        for nodes in (1, 8, 64, 256):
            told = predict(1e12, 5e9, nodes, node, storage)
            click.echo(
                f"| {name} | {nodes} | {told.seconds / 60:.1f} | {told.cost:.2f} | {told.limit} |"
            )


@click.command()
@click.option("--size", default="512MB", show_default=True, callback=lambda c, o, v: parse_size(v))
@click.option("--pairs", default=3, show_default=True, help="How many times each way runs.")
@click.option("--address", help="A Ray cluster to run on too.")
@click.option("--only-model", is_flag=True, help="What it says of 1 TB, and measure nothing.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work.")
def main(size: int, pairs: int, address: str | None, only_model: bool, folder: Path | None) -> None:
    """Measure how a run scales, and hold the model against it."""
    terabyte()
    if only_model:
        return
    with tempfile.TemporaryDirectory(dir=folder) as home:
        bench = Bench(Path(home), size)
        on_this_machine(bench, pairs, address)
        one = bench.nbytes / 5  # ten seconds for a process alone, which reads and writes it
        held_against(bench, pairs, (one, 100 * one))
        held_against(bench, pairs, (one, 3 * one))


if __name__ == "__main__":
    main()
