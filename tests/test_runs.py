"""Whole runs: with any number of workers, with many files, and with files that change."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.sources import MOST_OPEN, SourceFiles
from mapengine.errors import CheckpointError, OutputError
from mapengine.executors.local import run_local
from mapengine.planning.budget import SMALLEST

HEAD = """\
mapengine: 1
name: mapping
source: {tensors: "*.safetensors"}
target: {tensors: model.safetensors}
"""
MIXED = """\
dims: {i: 12}
tensors:
  - plain.{i}
  - long.{i} -> long.{i}: {ops: [{rearrange: "(2 3) x -> (3 2) x"}]}
  - turned.{i} -> turned.{i}: {ops: [{transpose: [0, 1]}]}
  - a.{i}, b.{i} -> joined.{i}: {ops: [{concat: {dim: 1, sizes: [3, 4]}}]}
  - fused -> part.{i}: {ops: [{split: {into: i, dim: 1}}]}
  - c.{i} -> cast.{i}: {ops: [{transpose: [0, 1]}, {cast: bfloat16}]}
  - even.{i} -> even: {ops: [{same: {over: i}}]}
  - d.{i} -> laid.{i}: {ops: [{rearrange: "(2 x) y -> y 2 x"}]}
  - d, e -> odd: {ops: [{concat: {dim: 1, sizes: [3, 5]}}, {rearrange: "r (2 x) -> x 2 r"}]}
  - huge: {ops: [{rearrange: "(2 x) y -> (x 2) y"}]}
  - empty
  - scalar
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def mapping(text):
    Path("mapping.yaml").write_text(HEAD + text)
    return "mapping.yaml"


def counted(first, *shape, dtype=torch.int16):
    return (torch.arange(torch.Size(shape).numel()) + first).reshape(shape).to(dtype)


def mixed():
    """Two files with tensors of which every kind of piece is made."""
    every, single = {}, {}
    for i in range(12):
        every[f"plain.{i}"] = counted(i, 40, 50)
        every[f"long.{i}"] = counted(i, 6, 40_000)
        every[f"turned.{i}"] = counted(i, 300, 270)
        every[f"a.{i}"], every[f"b.{i}"] = counted(i, 50, 3), counted(9 * i, 50, 4)
        every[f"c.{i}"] = counted(i, 70, 30, dtype=torch.float32)
        every[f"even.{i}"] = counted(5, 600)
        every[f"d.{i}"] = counted(i, 8, 9)
    single["fused"] = counted(3, 30, 36, dtype=torch.int64)
    single["d"], single["e"] = counted(1, 90, 3), counted(2, 90, 5)
    single["huge"] = counted(4, 3000, 3000, dtype=torch.int8)
    single["empty"], single["scalar"] = torch.empty(3, 0), torch.tensor(True)
    save_file(every, "in/first.safetensors")
    save_file(single, "in/second.safetensors")
    return every | single


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def names():
    return sorted(path.name for path in Path().iterdir())


# -- the same output ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_the_output_is_the_same_for_any_workers_memory_and_with_or_without_sync(format):
    mixed()
    job = api.Job(mapping(MIXED), "in", format=format, max_shard_size=400_000)
    outputs = []
    for workers in (1, 2, 4, 7):
        for sync in (False, True):
            output, told = f"out-{workers}-{sync}", []
            memory = (workers if sync else 1) * SMALLEST + 2**20
            result = api.run(
                job, output, workers=workers, memory=memory, sync=sync, progress=told.append
            )
            assert sum(done.nbytes for done in told) == result.bytes_written
            assert sum(done.tensors for done in told) == result.tensors - 1  # one has no bytes
            assert min(done.nbytes for done in told) > 0
            outputs.append(bytes_of(output))
    assert len(outputs[0]) > 6
    assert all(output == outputs[0] for output in outputs)


def test_a_mixed_run_makes_what_torch_makes():
    source = mixed()
    api.run(api.Job(mapping(MIXED), "in", max_shard_size=400_000), "out", sync=False)
    made = {}
    for path in Path("out").glob("*.safetensors"):
        made |= load_file(path)
    wanted = {"even": source["even.0"], "empty": source["empty"], "scalar": source["scalar"]}
    wanted["odd"] = torch.cat([source["d"], source["e"]], 1).unflatten(1, (2, 4)).permute(2, 1, 0)
    wanted["huge"] = source["huge"].unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
    parts = source["fused"].chunk(12, 1)
    for i in range(12):
        wanted |= {
            f"plain.{i}": source[f"plain.{i}"],
            f"long.{i}": source[f"long.{i}"].unflatten(0, (2, 3)).transpose(0, 1).flatten(0, 1),
            f"turned.{i}": source[f"turned.{i}"].T,
            f"joined.{i}": torch.cat([source[f"a.{i}"], source[f"b.{i}"]], 1),
            f"part.{i}": parts[i],
            f"cast.{i}": source[f"c.{i}"].T.bfloat16(),
            f"laid.{i}": source[f"d.{i}"].unflatten(0, (2, 4)).permute(2, 0, 1),
        }
    assert made.keys() == wanted.keys()
    for key, tensor in made.items():
        assert tensor.dtype == wanted[key].dtype
        assert torch.equal(tensor, wanted[key]), key


# -- many files -----------------------------------------------------------------------------------

FEW_OPEN = """
import resource, sys
from mapengine import Job, run
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
run(Job("mapping.yaml", "in", max_shard_size=16), "out", workers=int(sys.argv[1]), sync=False)
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_more_files_than_may_be_open_are_read(workers):
    tensors = {f"w.{i}": torch.full((4, 2), i, dtype=torch.int16) for i in range(300)}
    for key, tensor in tensors.items():
        save_file({key: tensor}, f"in/{key}.safetensors")
    mapping("dims: {i: 300}\ntensors: [{'w.{i} -> w': {ops: [{stack: {over: i, dim: 1}}]}}]\n")
    command = [sys.executable, "-c", FEW_OPEN, str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = load_file("out/model.safetensors")["w"]
    assert torch.equal(made, torch.stack(list(tensors.values()), 1))


def test_a_file_in_use_stays_open_however_many_others_are_read():
    for i in range(2 * MOST_OPEN):
        save_file({f"w.{i}": counted(i, 5)}, f"in/{i}.safetensors")
    planned = api.plan(
        api.Job(mapping(f"dims: {{i: {2 * MOST_OPEN}}}\ntensors: ['w.{{i}}']\n"), "in")
    )
    contents = planned.binding.names.inventory.files
    with (
        SourceFiles(SourceFolder(Path("in")), contents) as files,
        files.opened("0.safetensors") as one,
    ):
        for i in range(1, 2 * MOST_OPEN):
            with files.opened(f"{i}.safetensors") as other:
                assert os.fstat(other).st_ino == Path(f"in/{i}.safetensors").stat().st_ino
        assert os.fstat(one).st_ino == Path("in/0.safetensors").stat().st_ino


def test_results_come_in_the_order_of_the_tasks_and_few_tasks_are_taken_ahead():
    taken = []
    results = run_local(lambda task: task * task, (taken.append(n) or n for n in range(100)), 3)
    for done, result in enumerate(results):
        assert result == done * done
        assert len(taken) <= done + 12
    assert len(taken) == 100


# -- files that change ----------------------------------------------------------------------------

OPS = {"copied": "", "read in windows": ": {ops: [{transpose: [0, 1]}]}"}
MANY = 40


def many(ops):
    """A file of many tensors, each of which becomes a file of its own, and another."""
    save_file({f"w.{i}": counted(i, 50, 40) for i in range(MANY)}, "in/model.safetensors")
    save_file({"z": counted(0, 50)}, "in/other.safetensors")
    text = mapping(
        f"dims: {{i: {MANY}}}\ntensors:\n  - w.{{i}}{ops and ' -> w.{i}' + ops}\n  - z\n"
    )
    return api.Job(text, "in", max_shard_size=4000)


def outcome(job, progress=None, **options):
    """The problem that a run ends with, after which the output is as it was.

    What it had finished stays beside it, unless it is of no use to another run.
    """
    before, around = bytes_of("out") if Path("out").exists() else None, names()
    with pytest.raises((CheckpointError, OutputError)) as refused:
        api.run(job, "out", workers=2, sync=False, progress=progress, **options)
    assert (bytes_of("out") if Path("out").exists() else None) == before
    (problem,) = refused.value.problems
    left = [] if problem.code == "ME615" else [".out.mapengine"]
    assert names() == sorted(around + left)
    return str(problem)


@pytest.fixture(params=[False, True], ids=["into nothing", "over another"])
def overwrite(request):
    """Whether there is an output already, which is to be replaced."""
    if request.param:
        save_file({"w": torch.ones(2)}, "in/model.safetensors")
        api.run(api.Job(mapping("tensors: [w]\n"), "in"), "out")
    return request.param


def test_a_file_that_is_cut_short_after_planning_is_told_before_anything_is_written(overwrite):
    job, told = many(""), []
    planned = api.plan(job)
    os.truncate("in/other.safetensors", Path("in/other.safetensors").stat().st_size - 1)
    message = outcome(job, told.append, planned=planned, overwrite=overwrite)
    assert message == "ME615 other.safetensors has changed since it was planned"
    assert not told


@pytest.mark.parametrize("ops", OPS.values(), ids=OPS)
def test_a_file_that_is_cut_short_during_a_run_ends_it(ops, overwrite):
    def cut(_):
        os.truncate("in/model.safetensors", 2000)

    message = outcome(many(ops), cut, overwrite=overwrite)
    assert message == "ME501 in/model.safetensors: it has become shorter"


def test_a_file_that_changes_while_it_is_not_open_is_not_read(overwrite):
    Path("in/model.safetensors").unlink(missing_ok=True)
    for i in range(100):
        save_file({f"w.{i}": counted(i, 5)}, f"in/{i}.safetensors")
    job = api.Job(mapping("dims: {i: 100}\ntensors: ['w.{i}']\n"), "in", max_shard_size=10)

    def touch(_):
        for path in Path("in").iterdir():
            os.utime(path, ns=(0, 0))

    message = outcome(job, touch, overwrite=overwrite)
    assert message.startswith("ME615 ") and message.endswith("has changed since it was planned")


def test_a_run_that_is_interrupted_leaves_what_the_next_goes_on_from(overwrite):
    def stop(_):
        raise KeyboardInterrupt

    around, job = names(), many("")
    with pytest.raises(KeyboardInterrupt) as stopped:
        api.run(job, "out", sync=False, progress=stop, overwrite=overwrite)
    assert stopped.value.__notes__ == ["the same command goes on from here"]
    assert names() == sorted({*around, "mapping.yaml", ".out.mapengine"})
    if overwrite:
        assert load_file("out/model.safetensors").keys() == {"w"}
        assert json.loads(Path("out/mapengine.json").read_text())["files"]
    assert 0 < api.run(job, "out", sync=False, overwrite=overwrite).kept < MANY
    api.run(job, "undisturbed", sync=False)
    assert bytes_of("out") == bytes_of("undisturbed")
    assert api.run(job, "out", sync=False).was_finished


@pytest.mark.skipif(os.geteuid() != 0, reason="root can mount a small disk")
def test_a_disk_that_is_too_small_is_told_and_one_that_fills_up_is_gone_on_with(
    folder, monkeypatch
):
    job, disk = many(""), folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OutputError, match=r"ME613 .* bytes free, 338,532 are needed"):
            api.run(job, disk / "out")
        monkeypatch.setattr("mapengine.checkpoints.storage.check_space", lambda *_: None)
        with pytest.raises(OutputError, match=r"ME614 .*No space left on device"):
            api.run(job, disk / "out")
        assert [path.name for path in disk.iterdir()] == [".out.mapengine"]
        subprocess.run([*mount[:4], "remount,size=10m", "tmpfs", str(disk)], check=True)
        resumed = api.run(job, disk / "out")
        assert resumed.kept > 0
        api.run(job, "undisturbed")
        assert bytes_of(disk / "out") == bytes_of("undisturbed")
        assert [path.name for path in disk.iterdir()] == ["out"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
