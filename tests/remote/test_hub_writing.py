"""Checkpoints written to the Hub: one commit, or none, and nothing sent twice."""

import pytest

import mapengine
from mapengine.errors import CheckpointError, OutputError
from remote.conftest import HUB_TOKEN
from remote.hub import LARGE, Repository
from remote.test_reading import KINDS, files_of, make, said
from remote.test_writing import SHARDS, job

OUT = "hf://team/made"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of its client


@pytest.fixture
def checkpoint(tmp_path, hub):
    """A checkpoint of this machine, and what comes of it in `here`."""
    source = make(tmp_path, *KINDS["safetensors"], layers=4)
    mapengine.run(job(tmp_path), tmp_path / "here", sync=False)
    return source


def head(hub, name="team/made"):
    return hub.app.repositories[name].commits[-1]


def commits(hub, name="team/made"):
    return len(hub.app.repositories[name].commits)


def test_an_output_on_the_hub_is_one_commit_of_what_a_folder_would_hold(checkpoint, tmp_path, hub):
    result = mapengine.run(job(tmp_path), OUT)
    wanted = files_of(tmp_path / "here")
    assert head(hub) == wanted and commits(hub) == 2  # the first has nothing in it
    assert result.files == {name: len(data) for name, data in sorted(wanted.items())}
    assert set(hub.app.uploaded.values()) == {1}
    assert len(hub.app.uploaded) == sum(len(data) >= LARGE for data in wanted.values())
    assert result.output == OUT


def test_a_branch_can_be_written(checkpoint, tmp_path, hub):
    hub.app.repositories["team/made"] = Repository(branches={"half": 0})
    mapengine.run(job(tmp_path), f"{OUT}@half")
    repository = hub.app.repositories["team/made"]
    assert repository.commits[repository.branches["half"]] == files_of(tmp_path / "here")
    assert repository.commits[repository.branches["main"]] == {}


def test_a_commit_that_fails_leaves_none_and_nothing_is_sent_again(checkpoint, tmp_path, hub):
    hub.fail(method="POST", path="/commit/", status=403)
    with pytest.raises(CheckpointError, match=r"ME521 hf://team/made: access is denied \(403\)"):
        mapengine.run(job(tmp_path), OUT)
    assert commits(hub) == 1
    sent = dict(hub.app.uploaded)
    mapengine.run(job(tmp_path), OUT)
    assert head(hub) == files_of(tmp_path / "here")
    assert dict(hub.app.uploaded) == sent and set(sent.values()) == {1}


def test_a_commit_whose_answer_is_lost_is_found_to_be_there(checkpoint, tmp_path, hub):
    hub.fail(method="POST", path="/commit/", drop_at=0)
    mapengine.run(job(tmp_path), OUT)
    assert head(hub) == files_of(tmp_path / "here") and commits(hub) == 2


@pytest.mark.parametrize("path", ["/preupload/", "/objects/batch", "/store/", "/revision/"])
def test_what_can_pass_is_asked_of_the_hub_again(path, checkpoint, tmp_path, hub):
    method = {"/store/": "PUT", "/revision/": "GET"}.get(path, "POST")
    hub.fail(method=method, path=path, status=503)
    mapengine.run(job(tmp_path), OUT)
    assert head(hub) == files_of(tmp_path / "here")


def test_a_run_that_was_finished_is_not_done_again(checkpoint, tmp_path, hub):
    mapengine.run(job(tmp_path), OUT)
    assert mapengine.run(job(tmp_path), OUT).was_finished
    assert commits(hub) == 2


def test_what_a_run_has_made_is_replaced_at_once_and_nothing_else(checkpoint, tmp_path, hub):
    mapengine.run(job(tmp_path), OUT)
    other = job(tmp_path, max_shard_size=SHARDS // 2)
    with pytest.raises(OutputError, match=r"ME611 .*or replace it with|ME611 .*is not empty"):
        mapengine.run(other, OUT)
    mapengine.run(other, OUT, overwrite=True)
    mapengine.run(other, tmp_path / "other", sync=False)
    assert head(hub) == files_of(tmp_path / "other") and commits(hub) == 3
    hub.app.repositories["team/mine"] = Repository([{"notes.txt": b"mine"}])
    with pytest.raises(OutputError, match=r"ME611 .*it holds notes\.txt"):
        mapengine.run(other, "hf://team/mine", overwrite=True)
    assert commits(hub, "team/mine") == 1


def test_a_repository_that_changes_meanwhile_is_left_as_it_is(checkpoint, tmp_path, hub):
    hub.app.repositories["team/made"] = Repository()

    def progress(done):
        hub.app.repositories["team/made"].push("main", {"notes.txt": b"mine"})

    with pytest.raises((OutputError, CheckpointError), match=r"ME522 .*\(412\)"):
        mapengine.run(job(tmp_path), OUT, workers=1, progress=progress)
    assert head(hub) == {"notes.txt": b"mine"}


def test_a_new_repository_is_private(checkpoint, tmp_path, hub):
    mapengine.run(job(tmp_path), OUT)
    assert hub.app.repositories["team/made"].private


def test_the_token_is_told_to_nobody(checkpoint, tmp_path, hub):
    words = ["-s", tmp_path / "source", "-o", OUT, "--max-shard-size", SHARDS]
    text = said("run", tmp_path / "small.yaml", *words)
    assert f"Bearer {HUB_TOKEN}" in hub.app.tokens
    assert HUB_TOKEN not in text and HUB_TOKEN.encode() not in b"".join(head(hub).values())


@pytest.mark.parametrize("url", ["hf://team", "hf://team/made/sub", "hf://datasets/team/made"])
def test_only_a_repository_can_be_written(url, checkpoint, tmp_path):
    with pytest.raises(OutputError, match=r"ME612 .* is no repository"):
        mapengine.run(job(tmp_path), url)
