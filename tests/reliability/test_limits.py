"""Disks that are full, small or read-only: told before anything is written, where it can be."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mapengine import api
from mapengine.errors import MapengineError, OutputError
from reliability import crash_sweep, disks, runs

AS_ROOT = pytest.mark.skipif(not disks.is_possible(), reason="takes root, who may mount")
TRACED = pytest.mark.skipif(not crash_sweep.is_possible(), reason="takes strace, which may trace")
WHOLE = 4 * 2 * 300 * 301 * 2 + 14  # bytes of tensors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path)
    return tmp_path


def job(**options):
    return api.Job("small.yaml", "source", max_shard_size=400_000, **options)


# -- room -----------------------------------------------------------------------------------------


@AS_ROOT
def test_a_disk_of_any_size_is_too_small_before_the_first_byte_or_large_enough(folder):
    """Between the two, where the plan cannot tell, what was done is kept."""
    api.run(job(), "wanted")
    ends = []
    for size in [int(WHOLE * share / 20) for share in range(1, 30)]:
        with disks.disk(folder / "disk", size) as disk:
            try:
                api.run(job(), disk / "out")
                ends.append("made")
            except OutputError as error:
                (problem,) = error.problems
                ends.append(problem.code)
                if problem.code == "ME613":
                    assert "bytes free" in problem.message and "are missing" in problem.message
                    assert list(disk.iterdir()) == []
                    continue
                disks.remount(disk, f"size={2 * WHOLE}")
                assert api.run(job(), disk / "out").kept
            assert runs.digest(disk / "out") == runs.digest(Path("wanted"))
            assert [path.name for path in disk.iterdir()] == ["out"]
    assert ends == sorted(ends, key=["ME613", "ME614", "made"].index)
    assert ends.count("ME613") >= 18 and ends.count("made") >= 5 and ends.count("ME614") <= 1


@AS_ROOT
def test_what_is_kept_needs_no_room_again(folder):
    """A disk on which all of it would not fit, but what is left does."""
    with disks.disk(folder / "disk", 2 * WHOLE) as disk:
        with pytest.raises(KeyboardInterrupt):
            api.run(job(), disk / "out", progress=_after(disk, 3), workers=1)
        filled = disk / "filled"
        filled.write_bytes(b"x" * (WHOLE // 2))
        api.run(job(), disk / "out")
        filled.unlink()
        api.run(job(), "wanted")
        assert runs.digest(disk / "out") == runs.digest(Path("wanted"))


def _after(home, shards):
    def stop(done):
        if len(list(home.glob(".out.mapengine/new/*"))) >= shards:
            raise KeyboardInterrupt

    return stop


@AS_ROOT
def test_a_disk_without_a_byte_leaves_nothing_but_the_message(folder):
    with disks.disk(folder / "disk", 64 * 2**10) as disk:
        (disk / "filled").write_bytes(b"x" * 64 * 2**10)
        with pytest.raises(OutputError, match="ME613"):
            api.run(job(), disk / "out")
        with pytest.raises(OutputError, match="ME611"):
            api.run(job(), disk / "filled")
        assert [path.name for path in disk.iterdir()] == ["filled"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:2] = []
from mapengine.cli import main
main()
"""


def limited(size, *words):
    command = [sys.executable, "-c", LIMITED, str(size), *runs.words(*words)]
    return subprocess.run(command, capture_output=True, text=True, env=runs.environment())


def test_the_largest_file_that_a_process_may_write_is_looked_at_first(folder):
    done = limited(300_000)
    assert done.returncode == 2 and "ME613" in done.stderr and "ulimit -f" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}
    assert limited(500_000).returncode == 0


def test_a_limit_on_files_that_the_plan_cannot_know_is_an_error_like_any_other(folder):
    """The receipt is no larger than a shard here, but a companion is."""
    Path("source/tokenizer.json").write_text("{}" * 500_000)
    done = limited(500_000)
    assert done.returncode == 2 and "ME614" in done.stderr and "File too large" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert "the same command goes on from here" in done.stderr
    assert runs.run(folder).returncode == 0
    api.run(job(), "wanted")
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))


# -- errors of the disk ---------------------------------------------------------------------------


@TRACED
@pytest.mark.parametrize("fault", ["EDQUOT", "EROFS", "EACCES", "EINTR"])
def test_a_quota_and_other_refusals_are_said_and_leave_the_old_or_the_new(fault, tmp_path):
    sweep = crash_sweep.Sweep(tmp_path)
    wanted = ("mkdir", "openat", "fallocate", "pwrite64", "fsync", "rename", "renameat2")
    points = [point for point in sweep.points() if point.call in wanted]
    ends = {sweep.strike(point, fault) for point in points[:: len(points) // 8]}
    assert ends <= {"failed", "unharmed"} and (fault == "EINTR" or "failed" in ends)


@TRACED
@pytest.mark.parametrize("fault", ["ENOSYS", "EINVAL"])
def test_without_an_exchange_of_names_an_output_is_replaced_in_two_steps(fault, tmp_path):
    sweep = crash_sweep.Sweep(tmp_path)
    exchanges = [point for point in sweep.points() if point.call == "renameat2"]
    assert [sweep.strike(point, fault) for point in exchanges] == ["unharmed"]


# -- places where nothing can be written, or read -------------------------------------------------


@AS_ROOT
def test_a_disk_that_is_read_only_is_told_before_anything_is_planned(folder):
    refused = pytest.raises(OutputError, match=r"ME612 .*disk cannot be written to")
    with disks.disk(folder / "disk", 2 * WHOLE, "ro") as disk, refused:
        api.run(job(), disk / "out")


NOWHERE = ["x/" * 2500 + "out", "o" * 256, "a\0b", "/dev/null", "/dev/null/x"]


@pytest.mark.parametrize("output", NOWHERE, ids=range(len(NOWHERE)))
def test_a_place_that_cannot_be_is_an_error_of_ours(output, folder):
    with pytest.raises(OutputError, match=r"ME61[124]"):
        api.run(job(), output)
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}


def test_a_source_that_is_not_there_or_no_folder_is_an_error_of_ours(folder):
    for source in ("absent", "small.yaml", "x/" * 2500, "o" * 256, "a\0b", "/dev/null"):
        with pytest.raises(MapengineError, match="ME501"):
            api.run(api.Job("small.yaml", source), "out")
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}


UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_shard_that_may_not_be_read_is_told_by_name(folder):
    Path("source/model.safetensors").chmod(0)
    words = runs.command()
    if os.geteuid() == 0:
        if subprocess.run([*UNPRIVILEGED, "true"], capture_output=True).returncode:
            pytest.skip("root reads everything, and setpriv is not here to make it less")
        words = [*UNPRIVILEGED, *words]
    done = subprocess.run(words, capture_output=True, text=True, env=runs.environment())
    assert done.returncode == 2
    assert "ME501 source/model.safetensors: Permission denied" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}


def test_a_target_that_may_not_be_written_to_is_told_before_planning(folder):
    Path("locked").mkdir(mode=0o555)
    words = runs.command(output="locked/out")
    if os.geteuid() == 0:
        if subprocess.run([*UNPRIVILEGED, "true"], capture_output=True).returncode:
            pytest.skip("root writes everywhere, and setpriv is not here to make it less")
        words = [*UNPRIVILEGED, *words]
    done = subprocess.run(words, capture_output=True, text=True, env=runs.environment())
    assert done.returncode == 2 and "ME612" in done.stderr and "cannot be written to" in done.stderr
    assert list(Path("locked").iterdir()) == []
