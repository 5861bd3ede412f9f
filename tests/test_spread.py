"""What a task on a cluster does, and what is told of it: without a cluster."""

import errno
import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
from reliability import runs

from mapengine import api
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import CheckpointError, OpError, OutputError, PlanError, Problem, Where
from mapengine.executors.ray import Passing, _guarded
from mapengine.saved import saved_job
from mapengine.spread import ShardTask, make_shard


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path)
    return tmp_path


def task(number=0, folder="tasks"):
    job = api.Job("small.yaml", "source", max_shard_size=400_000)
    plan = api.plan(job)
    run = Conversion.of(plan, SourceFolder(Path("source")), Path("out"), False, False)
    told = json.dumps(saved_job(job, plan)["job"])
    home = str(Path(folder).absolute())
    return ShardTask(told, json.dumps(run.identity), home, number, 10**8, hash=False, sync=False)


def test_two_tries_of_a_shard_have_the_same_bytes_and_nothing_else_in_common():
    Path("tasks").mkdir()
    one, two = pickle.loads(pickle.dumps(task())), task()
    first, second = make_shard(one), make_shard(two)
    assert first.folder != second.folder and first.number == second.number == 0
    paths = [Path(made.folder) / made.finished.name for made in (first, second)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(pickle.dumps(one)) < 3000 and len(pickle.dumps(first)) < 1000


def test_a_node_that_does_not_see_the_folder_says_so_by_name():
    import socket

    with pytest.raises(OutputError, match=f"ME623 node {socket.gethostname()} does not see") as no:
        make_shard(task())
    assert "all nodes share" in no.value.problems[0].help


def test_a_node_that_does_not_see_the_source_says_so():
    Path("tasks").mkdir()
    one = task(folder="tasks/1")
    shutil.move("source", "elsewhere")
    with pytest.raises(OutputError, match=r"ME623 node .* cannot plan this run: ME501 .*source"):
        make_shard(one)


def test_a_node_that_sees_another_source_says_in_what():
    Path("tasks").mkdir()
    one = task(folder="tasks/2")
    runs.prepare(Path(), layers=5)
    with pytest.raises(OutputError, match=r"ME623 node .* sees something else: the source, .*diff"):
        make_shard(one)


def test_a_task_of_a_run_that_was_given_up_fails_and_writes_nothing(folder):
    Path("tasks").mkdir()
    one = task(folder="tasks/3")
    before = runs.digest(folder)
    with pytest.raises(OutputError, match="ME623"):
        make_shard(one)
    assert runs.digest(folder) == before


@pytest.mark.parametrize(
    "error, passes",
    [
        (OSError(errno.EIO, "Input/output error", "x"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (OSError(errno.EROFS, "Read-only file system"), False),
        (ValueError("a mistake of ours"), False),
        (PlanError(Problem("ME305", "lost")), False),
    ],
)
def test_what_passes_is_for_the_cluster_to_try_again(error, passes):
    def work(_):
        raise error

    if passes:
        with pytest.raises(Passing) as raised:
            _guarded(work, None)
        assert pickle.loads(pickle.dumps(raised.value)).error.errno == error.errno
    else:
        assert _guarded(work, None) == (None, error)


def test_a_source_that_hiccups_passes_too():
    def work(_):
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as error:
            raise CheckpointError(Problem("ME501", "source: Input/output error")) from error

    with pytest.raises(Passing):
        _guarded(work, None)


def test_errors_go_to_other_processes_whole():
    where = Where("small.yaml", 3, 1)
    error = PlanError(Problem("ME305", "lost", where, "rules[0]", "cast"), Problem("ME301", "two"))
    error.add_note("nothing is left behind")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is PlanError and found.problems == error.problems
    assert str(found) == str(error) and found.__notes__ == error.__notes__
    op = pickle.loads(pickle.dumps(OpError("uneven", "ME302", "pad it")))
    assert (str(op), op.code, op.help) == ("uneven", "ME302", "pad it")


def test_where_ray_is_not_installed_its_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OutputError, match="ME624 ray is not installed") as missing:
        api.run(api.Job("small.yaml", "source"), "out", executor="ray")
    assert missing.value.problems[0].help == "pip install 'mapengine[ray]'"
    assert not Path("out").exists() and not Path(".out.mapengine").exists()


@pytest.mark.parametrize(
    "words, told",
    [
        (("--address", "here:1"), "--address is for --executor ray"),
        (("--executor", "ray", "--part", "1/2"), "take one"),
        (("--executor", "dask"), "dask"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, told):
    code, text = runs.said("run", "small.yaml", "-s", "source", "-o", "out", *words)
    assert code == 2 and told in text


def test_an_executor_that_is_none_is_refused():
    with pytest.raises(OutputError, match="ME624 there is no executor 'dask'"):
        api.run(api.Job("small.yaml", "source"), "out", executor="dask")


def test_a_cluster_writes_to_no_url():
    with pytest.raises(OutputError, match="ME624 s3://bucket/out is no folder"):
        api.run(api.Job("small.yaml", "source"), "s3://bucket/out", executor="ray")
