"""A run in a process that was forked from one that had used torch, as servers and loaders do."""

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

MAPPING = """\
mapengine: 1
name: forked
source: {tensors: model.safetensors, config: config.json}
target: {tensors: model.safetensors, config: config.json}
config: {n: n}
dims: {i: n}
tensors: ["a.{i} -> b.{i}": {shape: [n * 40, 1000], ops: [{cast: {to: float16, from: float32}}]}]
"""
FORKS = """\
import os
import torch
from mapengine import api
torch.set_num_threads(2)
torch.ones(100_000).sum()
children = []
for i in range(20):
    child = os.fork()
    if not child:
        job = api.Job("m.yaml", "in")
        api.run(job, f"out{i}", workers=4, sync=False)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_forked_processes_work_with_several_threads(tmp_path):
    (tmp_path / "in").mkdir()
    made = {f"a.{i}": torch.full((320, 1000), float(i)) for i in range(8)}
    save_file(made, tmp_path / "in" / "model.safetensors")
    (tmp_path / "in" / "config.json").write_text('{"n": 8}')
    (tmp_path / "m.yaml").write_text(MAPPING)
    done = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.stdout.strip() == str([0] * 20), done.stderr
    found = load_file(tmp_path / "out0" / "model.safetensors")
    assert all(torch.equal(found[f"b.{i}"], made[f"a.{i}"].half()) for i in range(8))
