"""Checkpoints of the Hub, and of any other place that fsspec knows."""

import subprocess
import sys

import fsspec
import pytest

import mapengine
from mapengine.checkpoints.inspection import inspect
from mapengine.errors import CheckpointError
from remote.conftest import HUB_TOKEN
from remote.hub import Repository
from remote.test_reading import KINDS, convert, files_of, make


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of this machine, with what comes of it in `here`."""
    source = make(tmp_path, *KINDS["safetensors"])
    convert(tmp_path, source, "here")
    return source


def test_the_hub_is_read_at_the_commit_that_a_revision_stands_for(checkpoint, tmp_path, hub):
    old = {f"sub/{name}": data for name, data in files_of(checkpoint).items()}
    hub.app.repositories["team/one"] = repository = Repository([{}, old])
    job = mapengine.Job(tmp_path / "small.yaml", "hf://team/one/sub")
    planned = mapengine.plan(job)
    repository.push("main", {"sub/config.json": b"{}"})  # main is another now
    mapengine.run(job, tmp_path / "there", planned=planned, sync=False)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    asked = {one.path for one in hub.asked if "/resolve/" in one.path}
    assert asked and all(repository.sha(1) in path for path in asked)


def test_a_revision_can_be_named_and_a_run_that_was_finished_is_known(checkpoint, tmp_path, hub):
    files = files_of(checkpoint)
    hub.app.repositories["team/one"] = repository = Repository([{}, files, {}])
    url = f"hf://team/one@{repository.sha(1)}"
    assert not convert(tmp_path, url, "there").was_finished
    assert convert(tmp_path, url, "there").was_finished
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_a_saved_plan_names_the_commit(checkpoint, tmp_path, hub):
    hub.app.repositories["team/one"] = Repository([{}, files_of(checkpoint)])
    words = ["plan", "small.yaml", "-s", "hf://team/one", "-o", "plan.json", "--json"]
    done = subprocess.run([sys.executable, "-m", "mapengine", *words], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    saved = (tmp_path / "plan.json").read_text()
    assert f'"source": "hf://team/one@{Repository.sha(1)}"' in saved
    assert f"Bearer {HUB_TOKEN}" in hub.app.tokens
    assert HUB_TOKEN not in saved + done.stdout + done.stderr


HUB_FAULTS = {"a server that is busy": {"status": 503}, "a broken connection": {"drop_at": 9}}


@pytest.mark.parametrize("fault", HUB_FAULTS.values(), ids=HUB_FAULTS)
def test_what_can_pass_is_asked_of_the_hub_again(fault, checkpoint, tmp_path, hub):
    hub.app.repositories["team/one"] = Repository([{}, files_of(checkpoint)])
    hub.fail(path="/resolve/", **fault)
    hub.fail(path="/resolve/", after=2, **fault)
    convert(tmp_path, "hf://team/one", "there")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


@pytest.mark.parametrize(
    "url, status, code",
    [("hf://team/none", 404, "ME501"), ("hf://team/one@no", 404, "ME501"),
     ("hf://team/one", 403, "ME521")],
)  # fmt: skip
def test_what_the_hub_refuses_is_told(url, status, code, checkpoint, hub):
    hub.app.repositories["team/one"] = Repository([{}, files_of(checkpoint)])
    if status == 403:
        hub.fail(path="/api/models/team/one", status=403, times=9)
    with pytest.raises(CheckpointError) as raised:
        inspect(url)
    (problem,) = raised.value.problems
    assert problem.code == code and url in problem.message and HUB_TOKEN not in problem.message


def test_a_file_url_is_a_path(checkpoint, tmp_path):
    convert(tmp_path, checkpoint.as_uri(), "there")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_any_place_that_fsspec_knows_is_read(checkpoint, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(f"{checkpoint}/", "/team/one/", recursive=True)
    try:
        convert(tmp_path, "memory://team/one", "there")
    finally:
        memory.rm("/team", recursive=True)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
