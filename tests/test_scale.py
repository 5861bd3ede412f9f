"""Plans of large checkpoints: linear in the tensors, and from headers alone."""

import json
import struct
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.serialization import skip_data

from mapengine import Job, plan, run

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
HIDDEN, FFN, VOCAB, LAYERS = 4096, 2048, 32000, 2
RENAMED = """\
mapengine: 1
name: mapping
source: {tensors: "*.safetensors"}
target: {tensors: model.safetensors}
dims: {i: COUNT}
tensors: ["a.{i} -> b.{i}"]
"""
SIZES = {
    "dim": HIDDEN, "hidden_dim": FFN, "vocab_size": VOCAB, "n_layers": LAYERS, "n_heads": 32,
    "n_kv_heads": 8, "head_dim": 128, "norm_eps": 1e-5,
}  # fmt: skip
LAYER = {
    "attention_norm.weight": (HIDDEN,), "ffn_norm.weight": (HIDDEN,),
    "attention.wq.weight": (HIDDEN, HIDDEN), "attention.wk.weight": (1024, HIDDEN),
    "attention.wv.weight": (1024, HIDDEN), "attention.wo.weight": (HIDDEN, HIDDEN),
}  # fmt: skip
EXPERT = {"w1.weight": (FFN, HIDDEN), "w2.weight": (HIDDEN, FFN), "w3.weight": (FFN, HIDDEN)}


def shapes(experts):
    """Every tensor of a checkpoint with one matrix per expert."""
    found = {"tok_embeddings.weight": (VOCAB, HIDDEN), "output.weight": (VOCAB, HIDDEN)}
    found["norm.weight"] = (HIDDEN,)
    for layer in range(LAYERS):
        inside = LAYER | {"feed_forward.gate.weight": (experts, HIDDEN)}
        for expert in range(experts):
            inside |= {f"feed_forward.experts.{expert}.{k}": s for k, s in EXPERT.items()}
        found |= {f"layers.{layer}.{key}": shape for key, shape in inside.items()}
    return found


def params(folder, experts):
    sizes = SIZES | {"moe": {"num_experts": experts, "num_experts_per_tok": 2}}
    (folder / "params.json").write_text(json.dumps(sizes))


def safetensors_of(folder, experts, files=1):
    """Real headers, and data that is one hole; returns how many bytes are not."""
    params(folder, experts)
    tensors = [*shapes(experts).items()]
    written = 0
    for i in range(files):
        header, end = {}, 0
        for key, shape in tensors[i::files]:
            start, end = end, end + 2 * torch.Size(shape).numel()
            header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        name = f"consolidated-{i + 1:05}-of-{files:05}.safetensors"
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(file.tell() + end)
        written += len(text)
    return written


def calls_to_plan(folder):
    """How many functions of Python are called, which no other load on the machine changes."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        plan(Job(MAPPING, folder))
    finally:
        sys.setprofile(None)
    return count


def bytes_read_to_plan(folder):
    def read():
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar

    before = read()
    planned = plan(Job(MAPPING, folder))
    return read() - before, planned


def test_work_grows_with_the_tensors_and_no_faster(tmp_path):
    calls = []
    for experts in (8, 40, 72, 136):  # the first one fills the caches
        folder = tmp_path / str(experts)
        folder.mkdir()
        safetensors_of(folder, experts)
        calls.append(calls_to_plan(folder))
    _, few, some, many = calls
    assert many - some <= 2.05 * (some - few)


@pytest.mark.parametrize("files", [1, 200])
def test_of_safetensors_files_headers_alone_are_read(files, tmp_path):
    headers = safetensors_of(tmp_path, experts=100, files=files)
    read, planned = bytes_read_to_plan(tmp_path)
    assert planned.bytes_written > 10e9
    assert read < headers + files * 16_384 + 2**20


def test_of_torch_files_the_pickle_and_the_directory_alone_are_read(tmp_path):
    params(tmp_path, 20)
    path = tmp_path / "consolidated.00.pth"
    with skip_data():
        state = {k: torch.empty(s, dtype=torch.bfloat16) for k, s in shapes(20).items()}
        torch.save(state, path)
    read, planned = bytes_read_to_plan(tmp_path)
    assert planned.bytes_written > 2e9
    assert read < len(state) * 20_000 + 2**20


def calls_of_a_run(folder, count, monkeypatch):
    """How many functions are called to convert so many tensors of one file into one."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("in").mkdir()
    Path("mapping.yaml").write_text(RENAMED.replace("COUNT", str(count)))
    save_file({f"a.{i}": torch.zeros(3) for i in range(count)}, "in/model.safetensors")
    job, calls = Job("mapping.yaml", "in"), Counter()
    planned = plan(job)
    threading.setprofile(lambda *_: calls.update(["any"]))
    sys.setprofile(lambda *_: calls.update(["any"]))
    try:
        run(job, "out", planned=planned, workers=1)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls["any"]


def test_the_work_of_writing_grows_with_the_tensors_and_no_faster(tmp_path, monkeypatch):
    few, many = (calls_of_a_run(tmp_path / str(n), n, monkeypatch) for n in (250, 1000))
    assert many < 5 * few
