"""The folder beside the output: who may use it, what is kept, and how it becomes the output."""

import errno
import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mapengine import api
from mapengine.checkpoints import execute, publishing, shards, storage
from mapengine.checkpoints.workspace import place_of
from mapengine.errors import OutputError, PlanError
from reliability import runs

SIZE = 400_000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path)
    return tmp_path


def job(**options):
    return api.Job("small.yaml", "source", **{"max_shard_size": SIZE, **options})


def stopped(after=2, **options):
    """A run that is interrupted when so many tasks are done."""
    left = iter(range(after))

    def stop(_):
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(job(), "out", progress=stop, workers=1, **options)
    assert place_of(Path("out")).is_dir() and not Path("out").exists()


def undisturbed():
    api.run(job(), "undisturbed")
    return runs.digest(Path("undisturbed"))


@pytest.mark.parametrize("sync", [True, False])
def test_a_run_goes_on_and_comes_to_the_same(sync):
    stopped(sync=sync)
    result = api.run(job(), "out", sync=sync)
    assert 0 < result.kept < 6
    assert runs.digest(Path("out")) == undisturbed()
    assert not place_of(Path("out")).exists()


def test_a_run_that_is_over_is_not_run_again():
    api.run(job(), "out")
    times = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert api.run(job(), "out").was_finished
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir()} == times


def test_what_was_left_after_publishing_is_cleared_by_the_same_run(monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mapengine.checkpoints.workspace.Workspace.remove", killed)
        api.run(job(), "out")
    assert place_of(Path("out")).is_dir()
    assert api.run(job(), "out").was_finished
    assert not place_of(Path("out")).exists()


def test_the_command_says_that_it_was_finished_before(folder):
    assert runs.run(folder).returncode == 0
    again = subprocess.run(
        [word for word in runs.command() if word != "--quiet"],
        cwd=folder, capture_output=True, text=True, env=runs.environment(),
    )  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "it was finished before; nothing was done\n")


CHANGES = {
    "the mapping": lambda: Path("small.yaml").write_text(runs.MAPPING.replace("- norm", "-  norm")),
    "the source": lambda: runs.prepare(Path(), layers=5),
    "the times of the source's files": lambda: runs.prepare(Path(), salt=1.0),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_unfinished_run_of_something_else_is_refused(what):
    stopped()
    CHANGES[what]()
    before = runs.digest(place_of(Path("out")))
    with pytest.raises(OutputError, match=rf"ME617 .*{what}.* changed") as refused:
        api.run(job(), "out")
    assert "--restart" in refused.value.problems[0].help
    assert runs.digest(place_of(Path("out"))) == before
    assert api.run(job(), "out", restart=True).kept == 0


def test_an_unfinished_run_of_other_options_is_refused():
    stopped()
    with pytest.raises(OutputError, match=r"ME617 .*the options"):
        api.run(job(dtype="float32"), "out")


def test_one_other_byte_at_the_same_time_and_size_is_noticed():
    stopped()
    path = Path("source/model.safetensors")
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    with pytest.raises(OutputError, match="ME617"):
        api.run(job(), "out")


def test_a_shard_that_was_changed_is_made_again():
    stopped()
    spoilt = sorted((place_of(Path("out")) / "new").iterdir())[0]
    status = spoilt.stat()
    data = bytearray(spoilt.read_bytes())
    data[-1] ^= 1
    spoilt.write_bytes(data)
    os.utime(spoilt, ns=(status.st_atime_ns, status.st_mtime_ns))  # only its bytes tell
    kept = len(list(spoilt.parent.iterdir()))
    assert api.run(job(), "out").kept == kept - 1
    assert runs.digest(Path("out")) == undisturbed()


def test_a_journal_with_any_byte_changed_or_cut_leads_to_the_same():
    stopped(after=3)
    place, wanted = place_of(Path("out")), undisturbed()
    journal = (place / "journal").read_bytes()
    saved = {path.name: (path.read_bytes(), path.stat()) for path in (place / "new").iterdir()}
    for at in [*range(0, len(journal), max(len(journal) // 25, 1)), len(journal) - 1]:
        for spoilt in (journal[:at], journal[:at] + bytes([journal[at] ^ 4]) + journal[at + 1 :]):
            (place / "new").mkdir(parents=True, exist_ok=True)
            for name, (data, status) in saved.items():
                (place / "new" / name).write_bytes(data)
                os.utime(place / "new" / name, ns=(status.st_atime_ns, status.st_mtime_ns))
            (place / "journal").write_bytes(spoilt)
            api.run(job(), "out")
            assert runs.digest(Path("out")) == wanted
            subprocess.run(["rm", "-r", "out"], check=True)


# -- one at a time --------------------------------------------------------------------------------


def test_another_process_is_named(folder):
    place = place_of(Path("out"))
    place.mkdir()
    with (place / "lock").open("w") as file:
        file.write("process 1 on earth")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = runs.run(folder)
    assert done.returncode == 2
    assert "ME616" in done.stderr and "process 1 on earth" in done.stderr
    assert not Path("out").exists()
    assert runs.run(folder).returncode == 0  # the lock went with who held it


@pytest.mark.parametrize("round", range(3))
def test_of_eight_at_once_none_spoils_the_others(folder, round):
    started = [
        subprocess.Popen(runs.command(), cwd=folder, stderr=subprocess.PIPE, env=runs.environment())
        for _ in range(8)
    ]
    told = [process.communicate()[1].decode() for process in started]
    codes = [process.returncode for process in started]
    assert codes.count(0) >= 1 and set(codes) <= {0, 2}
    lost = [text for text, code in zip(told, codes, strict=True) if code]
    assert [text for text in lost if "ME616" not in text] == []
    assert runs.digest(Path("out")) == undisturbed()
    assert not place_of(Path("out")).exists()


def test_threads_of_one_process_are_two_as_well():
    begun, go_on, told = threading.Event(), threading.Event(), []

    def wait(_):
        begun.set()
        go_on.wait(20)

    first = threading.Thread(target=lambda: told.append(api.run(job(), "out", progress=wait)))
    first.start()
    begun.wait(20)
    with pytest.raises(OutputError, match="ME616"):
        api.run(job(), "out")
    go_on.set()
    first.join()
    assert told[0].files


def test_what_no_run_has_made_is_not_removed():
    place = place_of(Path("out"))
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"ME612 .*thesis\.tex"):
        api.run(job(), "out")
    assert (place / "thesis.tex").read_text()


def test_a_link_in_its_place_is_not_followed(folder):
    (folder / "elsewhere").mkdir()
    place_of(Path("out")).symlink_to(folder / "elsewhere")
    with pytest.raises(OutputError, match="ME612"):
        api.run(job(), "out")
    assert not list((folder / "elsewhere").iterdir())


# -- one in the place of the other ----------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["exchanged", "in two steps"])
def exchange(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(publishing, "_exchange", lambda one, other: False)


def test_overwriting_ends_with_the_new_and_nothing_beside_it(exchange, folder):
    api.run(job(dtype="float32"), "out")
    api.run(job(), "out", overwrite=True)
    assert runs.digest(Path("out")) == undisturbed()
    assert {path.name for path in folder.iterdir()} == {
        "out", "undisturbed", "source", "small.yaml",
    }  # fmt: skip


def test_the_old_is_there_until_the_new_is(exchange, monkeypatch):
    api.run(job(dtype="float32"), "out")
    before = runs.digest(Path("out"))
    real = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError(errno.EIO, "Input/output error", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="ME614"):
        api.run(job(), "out", overwrite=True)
    monkeypatch.setattr(Path, "rename", real)
    found = runs.digest(Path("out"))
    api.run(job(), "out", overwrite=True)
    assert found in (before, undisturbed())
    assert runs.digest(Path("out")) == undisturbed()


def test_a_disk_that_fails_after_publishing_is_not_said_to_have_left_the_old(monkeypatch, folder):
    real = storage.sync_file

    def failing(path):
        if path == folder:
            raise OSError(errno.EIO, "Input/output error", str(path))
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "sync_file", failing)
        with pytest.raises(OutputError, match=r"ME614 .*Input/output error; out is the new one"):
            api.run(job(), "out")
    assert api.run(job(), "out").was_finished
    assert runs.digest(Path("out")) == undisturbed()
    assert not place_of(Path("out")).exists()


def test_an_output_that_another_run_publishes_meanwhile_is_taken_for_finished(monkeypatch):
    """What the first of two equal runs publishes while the second comes to take its lock."""
    real = execute.workspace

    def late(*words, **options):
        monkeypatch.setattr(execute, "workspace", real)
        api.run(job(), "out")
        return real(*words, **options)

    monkeypatch.setattr(execute, "workspace", late)
    assert api.run(job(), "out").was_finished
    assert not place_of(Path("out")).exists()


def test_a_value_that_is_lost_leaves_nothing_to_go_on_from(folder):
    text = runs.MAPPING.replace("- norm", "- norm: {ops: [{mul: 1.0e+38}]}")
    Path("small.yaml").write_text(text)
    with pytest.raises(PlanError, match="ME305"):
        api.run(job(), "out")
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}


def test_a_long_name_has_a_place_too():
    name = "ü" * 120
    api.run(job(), name)
    assert load_file(next(Path(name).glob("*.safetensors")))


def test_modes_are_what_the_umask_says(folder):
    before = os.umask(0o027)
    try:
        api.run(job(), "out")
    finally:
        os.umask(before)
    assert Path("out").stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in Path("out").iterdir()} == {0o640}


# -- hashes ---------------------------------------------------------------------------------------


def test_the_receipt_has_the_hashes_and_verify_goes_by_them(folder):
    import hashlib

    import mapengine

    api.run(job(), "out", hash=True)
    told = json.loads(Path("out/mapengine.json").read_text())["sha256"]
    names = {path.name for path in Path("out").iterdir()} - {"mapengine.json"}
    assert told["files"] == {
        name: hashlib.sha256(Path("out", name).read_bytes()).hexdigest() for name in names
    }
    assert told["tensors"] == {
        name: {
            key: hashlib.sha256(one.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
            for key, one in load_file(f"out/{name}").items()
        }
        for name in names
        if name.endswith("rs")
    }
    assert [c.detail for c in mapengine.verify("out", load=False) if "receipt" in c.name] == [
        f"{len(names)} files, and the SHA-256"
    ]
    shard = sorted(Path("out").glob("*.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    (check,) = (c for c in mapengine.verify("out", load=False) if "receipt" in c.name)
    (problem,) = check.findings
    assert problem.code == "ME714" and shard.name in problem.message


RANKS = """\
mapengine: 1
name: ranks
source: {tensors: "rank.{rank}.pt"}
target: {tensors: model.safetensors}
dims: {rank: 2}
tensors: [w: {ops: [{concat: {over: rank, dim: 0}}]}]
"""


def test_of_files_with_the_same_keys_the_receipt_has_the_hashes_of_each(folder):
    import mapengine

    Path("ranks.yaml").write_text(RANKS)
    Path("whole").mkdir()
    save_file({"w": torch.arange(4.0)}, "whole/model.safetensors")
    api.run(api.Job("ranks.yaml", "whole", reverse=True), "out", hash=True)
    told = json.loads(Path("out/mapengine.json").read_text())["sha256"]["tensors"]
    assert told.keys() == {"rank.0.pt", "rank.1.pt"}
    assert told["rank.0.pt"]["w"] != told["rank.1.pt"]["w"]
    path = Path("out/rank.1.pt")
    path.write_bytes(path.read_bytes().replace(b"\0\0\x40\x40", b"\0\0\x41\x40"))
    (check,) = (c for c in mapengine.verify("out", load=False) if "receipt" in c.name)
    assert [p.message for p in check.findings] == ["w in rank.1.pt is not what was written"]


def test_a_run_that_goes_on_has_all_hashes():
    stopped(hash=True)
    assert api.run(job(), "out", hash=True).kept
    api.run(job(), "undisturbed", hash=True)
    assert runs.digest(Path("out")) == runs.digest(Path("undisturbed"))


def test_two_shards_are_never_more_than_the_workers(monkeypatch):
    """Files are made when they are wanted: an interrupted run leaves no more than it must."""
    made, real = [], shards._Target.__init__

    def counting(self, shard, run):
        made.append(shard.name)
        real(self, shard, run)

    monkeypatch.setattr(shards._Target, "__init__", counting)
    stopped(after=0)
    assert len(made) < 6
