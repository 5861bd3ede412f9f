import json
import tracemalloc
from pathlib import Path

import pytest
import torch
from golden.sources import write_json
from safetensors.torch import save_file

from mapengine.checkpoints.inspection import FileSummary, KeyGroup, Total, inspect
from mapengine.errors import CheckpointError


def write_folder(folder: Path) -> Path:
    """A safetensors file, a torch file with more than tensors in it, and configs."""
    state = {f"layers.{n}.w": torch.zeros(2, 3) for n in range(4)}
    state |= {"layers.4.w": torch.zeros(3, 3), "norm": torch.zeros(3, dtype=torch.bfloat16)}
    save_file(state, folder / "a.safetensors", metadata={"format": "pt"})
    objects = {"epoch": 3, "args": {"name": "x" * 200, "seen": [1, 2]}}
    torch.save({"model": {"w": torch.zeros(5)}, **objects}, folder / "b.pth")
    write_json(folder / "config.json", {})
    write_json(folder / "params.json", {})
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_inspect_tells_files_keys_and_totals(tmp_path):
    seen = inspect(write_folder(tmp_path))
    a, b = (tmp_path / name for name in ("a.safetensors", "b.pth"))
    objects = (("epoch", "3"), ("args/name", "x" * 80 + "..."), ("args/seen", "[1, 2]"))
    assert seen.files == (
        FileSummary(a.name, "safetensors", a.stat().st_size, 6, {"format": "pt"}, (), ()),
        FileSummary(b.name, "torch", b.stat().st_size, 1, {}, objects, ()),
    )
    assert sorted(seen.groups, key=lambda group: group.keys) == [
        KeyGroup("layers.4.w", 1, "float32", (3, 3), 36),
        KeyGroup("layers.{0...3}.w", 4, "float32", (2, 3), 96),
        KeyGroup("model/w", 1, "float32", (5,), 20),
        KeyGroup("norm", 1, "bfloat16", (3,), 6),
    ]
    assert seen.dtypes == {"bfloat16": Total(1, 3, 6), "float32": Total(6, 38, 152)}
    assert seen.total == Total(7, 41, 158)
    assert seen.configs == ("config.json", "params.json")
    assert seen.indexes == ()
    assert seen.problems == ()


def test_an_inspection_is_json(tmp_path):
    told = inspect(write_folder(tmp_path)).to_dict()
    assert json.loads(json.dumps(told))["total"] == {"tensors": 7, "parameters": 41, "bytes": 158}


def test_problems_are_listed_and_the_rest_is_told(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "c.bin").write_bytes(b"nothing of the kind")
    whole = (folder / "a.safetensors").read_bytes()
    (folder / "d-00001-of-00002.safetensors").write_bytes(whole[:-1])
    index = {"weight_map": {"w": "e-00002-of-00002.safetensors"}}
    write_json(folder / "e.safetensors.index.json", index)
    (folder / "f.safetensors.index.json").write_text("[")
    seen = inspect(folder)
    assert [problem.code for problem in seen.problems] == ["ME501", "ME502", "ME516", "ME511"]
    assert [file.name for file in seen.files] == ["a.safetensors", "b.pth"]
    assert seen.indexes == ("e.safetensors.index.json",)


def test_values_beside_the_tensors_are_told_in_part_where_they_are_many(tmp_path):
    torch.save({f"value {n}": n for n in range(60)}, tmp_path / "a.pt")
    (file,) = inspect(tmp_path).files
    assert len(file.objects) == 50
    assert file.notes == ("10 more values beside the tensors are not shown",)


def test_long_values_are_cut_before_they_are_put_in_words(tmp_path):
    long = "x" * 2**20
    values = {"texts": [long] * 30, "nested": {"pairs": ((long, 1),), "numbers": list(range(99))}}
    torch.save(values, tmp_path / "a.pt")
    tracemalloc.start()
    try:
        (file,) = inspect(tmp_path).files
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()
    assert file.objects == (
        ("texts", "['" + "x" * 78 + "..."),
        ("nested/pairs", "(('" + "x" * 77 + "..."),
        ("nested/numbers", str(list(range(99)))[:80] + "..."),
    )


def test_an_empty_folder_is_inspected_and_one_that_is_not_there_is_an_error(tmp_path):
    assert inspect(tmp_path).total == Total(0, 0, 0)
    with pytest.raises(CheckpointError, match="ME501"):
        inspect(tmp_path / "nowhere")
