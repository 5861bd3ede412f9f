"""The same run on a cluster: the same bytes, whatever dies in the middle of it."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from reliability import runs
from safetensors.torch import save_file

from mapengine import api, parts
from mapengine.errors import OutputError, PlanError
from mapengine.executors.ray import RayExecutor

pytestmark = pytest.mark.filterwarnings("ignore")
PLACE = Path(".out.mapengine")
SIZE, LAYERS, ROWS = 17_000_000, 10, 2048
"""Shards that take long enough to be met at work."""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with a source, and what local runs make of it."""
    home = tmp_path_factory.mktemp("made")
    runs.prepare(home, layers=LAYERS)
    tensors = {"norm": torch.arange(7, dtype=torch.bfloat16)}
    for i in range(LAYERS):
        values = torch.arange(ROWS * ROWS, dtype=torch.float32).reshape(ROWS, ROWS) + i
        tensors[f"layers.{i}.plain"] = values.to(torch.bfloat16)
        tensors[f"layers.{i}.turned"] = values.to(torch.bfloat16)
    save_file(tensors, home / "source" / "model.safetensors")
    before = Path.cwd()
    os.chdir(home)
    try:
        for name, hash in (("local", False), ("hashed", True)):
            api.run(job(), name, hash=hash)
    finally:
        os.chdir(before)
    return home


@pytest.fixture(autouse=True)
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    yield made
    for path in (made / "out", made / PLACE):
        shutil.rmtree(path, ignore_errors=True)


def job(**options):
    return api.Job("small.yaml", "source", **{"max_shard_size": SIZE, **options})


def started(cluster, *more):
    words = ["run", "small.yaml", "-s", "source", "-o", "out", "--max-shard-size", str(SIZE)]
    words += ["--quiet", "--executor", "ray", "--address", cluster.address, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "mapengine", *words], stderr=subprocess.PIPE, text=True,
        env=runs.environment(), start_new_session=True,
    )  # fmt: skip


def ends(process, code=0):
    told = process.communicate(timeout=100)[1]
    assert process.returncode == code, told
    return "\n".join(line for line in told.splitlines() if "network_util.cc" not in line)


def same(name="local"):
    assert runs.digest(Path("out")) == runs.digest(Path(name))
    assert not PLACE.exists()


def tries():
    """The process of each try that is at work or was, and its folder."""
    found = PLACE.glob("parts/*/*-*-*-*")
    return {int(path.name.split("-")[-2]): path for path in found}


def raylet_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def frozen(process, on=None):
    """Stops a worker in the middle of a shard: one on a node, if that is said. Its process."""
    raylet = on.all_processes["raylet"][0].process.pid if on else None
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
        try:
            for pid, home in tries().items():
                if raylet in (None, raylet_of(pid)) and any(home.iterdir()):
                    os.kill(pid, signal.SIGSTOP)
                    if any(home.iterdir()):
                        return pid
                    os.kill(pid, signal.SIGCONT)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError("no worker was met at work")


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_bytes_are_those_of_a_local_run_and_of_parts(cluster, node):
    process = started(cluster, "--hash")
    raylets = set()
    while process.poll() is None:
        time.sleep(0.005)
        for pid in tries():
            try:
                raylets.add(raylet_of(pid))
            except FileNotFoundError:
                continue
    ends(process)
    same("hashed")
    assert len(raylets) == 2  # both nodes have worked
    shutil.rmtree("out")
    for number in (1, 2):
        parts.run_part(job(), "out", f"{number}/2", hash=True)
    parts.publish("out")
    same("hashed")


def test_a_worker_that_is_killed_is_replaced(cluster, node):
    process = started(cluster)
    os.kill(frozen(process), signal.SIGKILL)
    ends(process)
    same()


def test_a_node_that_dies_is_done_without(cluster, node):
    process = started(cluster)
    worker = frozen(process, node)
    cluster.remove_node(node, allow_graceful=False)
    if is_there(worker):
        os.kill(worker, signal.SIGKILL)
    ends(process)
    same()


def test_an_orphan_whose_node_is_dead_does_no_harm(cluster, node):
    """Its raylet dies alone; the worker goes on later: its shard is taken, or made by another."""
    process = started(cluster)
    worker = frozen(process, node)
    node.kill_raylet()
    until = time.monotonic() + 3  # by then the node counts as dead
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):  # it may have gone with its raylet
        os.kill(worker, signal.SIGCONT)
    ends(process)
    same()
    cluster.remove_node(node, allow_graceful=False)


def test_a_driver_that_is_killed_is_run_again(cluster, node):
    process = started(cluster)
    while process.poll() is None and len(list(PLACE.glob("new/*"))) < 2:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    there = len(list(PLACE.glob("new/*")))
    assert not Path("out").exists() and there >= 2
    kept = api.run(job(), "out", executor="ray", address=cluster.address).kept
    assert there - 1 <= kept <= there  # the last one may not have been noted
    same()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_tasks(cluster, node, number, code):
    process = started(cluster)
    worker = frozen(process)
    process.send_signal(number)
    told = ends(process, code)
    assert "the same command goes on from here" in told or "nothing is left behind" in told
    until = time.monotonic() + 10
    while is_there(worker):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not list(PLACE.glob("parts/*"))
    assert api.run(job(), "out").files  # on this machine now
    same()


def test_an_error_is_told_as_by_a_local_run(cluster, node, tmp_path):
    text = Path("small.yaml").read_text().replace("- norm", "- norm: {ops: [{mul: 1.0e+38}]}")
    (tmp_path / "lost.yaml").write_text(text)
    told = []
    for on in ({}, {"executor": "ray", "address": cluster.address}):
        with pytest.raises(PlanError, match="ME305") as lost:
            api.run(api.Job(tmp_path / "lost.yaml", "source", max_shard_size=SIZE), "out", **on)
        told.append(lost.value.problems)
    assert told[0] == told[1]
    assert not PLACE.exists()


# -- the executor by itself -----------------------------------------------------------------------


def failing():
    """Work that fails a few times by an error of the disk, and keeps in a file how often it ran."""

    def work(case):  # within, so that it goes to the nodes by its code: they have no tests
        path, times, number = case
        with Path(path).open("a") as file:
            file.write("x")
        if Path(path).stat().st_size <= times:
            raise OSError(number, os.strerror(number), path)
        return Path(path).stat().st_size

    return work


def test_only_errors_that_pass_are_tried_again(cluster, node, tmp_path):
    run = RayExecutor(cluster.address, 10**8)
    assert list(run(failing(), [(str(tmp_path / "eio"), 2, errno.EIO)], None)) == [3]
    full = tmp_path / "full"
    with pytest.raises(OSError, match="No space left on device") as raised:
        list(run(failing(), [(str(full), 1, errno.ENOSPC)], None))
    assert (raised.value.errno, full.stat().st_size) == (errno.ENOSPC, 1)
    with pytest.raises(OSError, match="Input/output error"):
        list(run(failing(), [(str(tmp_path / "always"), 99, errno.EIO)], None))


def test_no_more_tasks_are_at_work_than_was_said_and_memory_is_looked_at(cluster, node):
    done = list(RayExecutor(cluster.address, 10**8)(abs, range(-20, 0), 1))
    assert done == list(range(20, 0, -1))  # one at a time has an order
    with pytest.raises(OutputError, match=r"ME624 a task takes .* bytes of memory"):
        list(RayExecutor(cluster.address, 10**15)(abs, [1], None))


def test_where_there_is_no_cluster_that_is_said_soon():
    begun = time.monotonic()
    with pytest.raises(OutputError, match="ME624 there is no Ray cluster at 127"):
        api.run(job(), "out", executor="ray", address="127.0.0.1:1")
    assert time.monotonic() - begun < 30
    assert not PLACE.exists()
