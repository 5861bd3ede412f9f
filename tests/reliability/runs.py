"""A small conversion of several shards, and what it comes to undisturbed."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
MAPPING = """\
mapengine: 1
name: small
source: {tensors: model.safetensors, config: config.json}
target: {tensors: model.safetensors, config: config.json}
files: [tokenizer.json]
config: {layers: {source: layers, target: layers}}
dims: {layer: layers}
tensors:
  - scope: layers.{layer}. -> blocks.{layer}.
    tensors:
      - plain
      - turned: {ops: [{transpose: [0, 1]}]}
  - norm
"""
OPTIONS = ("--max-shard-size", "400KB", "--quiet")
"""Shards that take more than one task, and more than one of them."""


def prepare(folder: Path, layers: int = 4, salt: float = 0.0) -> None:
    """The mapping and a source of some megabytes, in a folder."""
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(MAPPING)
    tensors = {"norm": torch.arange(7, dtype=torch.bfloat16)}
    for i in range(layers):
        values = torch.arange(300 * 301, dtype=torch.float32) + i + salt
        tensors[f"layers.{i}.plain"] = values.reshape(300, 301).to(torch.bfloat16)
        tensors[f"layers.{i}.turned"] = values.reshape(301, 300).to(torch.bfloat16)
    save_file(tensors, source / "model.safetensors")
    (source / "config.json").write_text(json.dumps({"layers": layers}))
    (source / "tokenizer.json").write_text("{}" * 5000)


def words(*more: str, output: str = "out") -> list[str]:
    return ["run", "small.yaml", "-s", "source", "-o", output, *OPTIONS, *more]


def command(*more: str, output: str = "out") -> list[str]:
    return [sys.executable, "-m", "mapengine", *words(*more, output=output)]


def run(folder: Path, *more: str, output: str = "out") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*more, output=output), cwd=folder, capture_output=True, text=True, env=environment()
    )


def said(*words: str) -> tuple[int, str]:
    """The exit status of a command, and all that it said. Forked: nothing is loaded again."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            try:
                for number, name in ((1, "stdout"), (2, "stderr")):
                    os.dup2(told.fileno(), number)
                    setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
                sys.argv = ["mapengine", *words]
                from mapengine import cli

                status = cli.invoke()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            finally:
                os._exit(99)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return status, told.read().decode()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def digest(folder: Path) -> str | None:
    """One hash over the names, modes and bytes of a folder; None where there is none."""
    if not folder.exists():
        return None
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(f"{path.relative_to(folder)} {path.stat().st_mode:o}\n".encode())
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()
