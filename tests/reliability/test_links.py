"""Links, pipes and devices in a source: what is no file of the folder is not opened."""

import os
import re
import shutil
import socket
from functools import partial
from pathlib import Path

import pytest

from mapengine import api, verify
from mapengine.checkpoints.inspection import inspect
from mapengine.errors import CheckpointError
from reliability import runs
from reliability.paths import SHARD, job, linked, outside

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")

pytestmark = pytest.mark.usefixtures("folder")


def twice():
    SHARD.unlink()
    SHARD.symlink_to("second")
    Path("source/second").symlink_to("../outside/model.safetensors")


def through_a_folder():
    SHARD.unlink()
    Path("source/folder").symlink_to("../outside")
    SHARD.symlink_to("folder/model.safetensors")


def made(kind):
    def make():
        SHARD.unlink()
        if kind == "pipe":
            os.mkfifo(SHARD)
        elif kind == "device":
            os.mknod(SHARD, 0o20666, os.makedev(1, 5))
        else:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(SHARD))

    return make


STRAYS = {
    "a shard, relative": partial(linked, SHARD.name, "../outside/model.safetensors"),
    "a shard, absolute": partial(linked, SHARD.name, "/etc/hostname"),
    "a shard, by another link": twice,
    "a shard, through a folder": through_a_folder,
    "a shard without an end": partial(linked, SHARD.name, "/dev/zero"),
    "our own memory": partial(linked, SHARD.name, "/proc/self/mem"),
    "our environment": partial(linked, "config.json", "/proc/self/environ"),
    "the config": partial(linked, "config.json", "../outside/config.json"),
    "what is carried over": partial(linked, "tokenizer.json", "../outside/tokenizer.json"),
    "a link to nothing": partial(linked, SHARD.name, "nothing"),
    "a link to itself": partial(linked, SHARD.name, SHARD.name),
    "a pipe": made("pipe"),
    "a socket": made("socket"),
}
SAID = {
    "a link to nothing": "ME501 .*is a link that leads to nothing",
    "a link to itself": "ME501 .*is a link that leads to nothing",
    "a pipe": "ME501 .*is not a regular file: it is a pipe",
    "a socket": "ME501 .*is not a regular file: it is a socket",
}


@pytest.mark.parametrize("stray", STRAYS)
def test_what_is_no_file_of_the_folder_is_refused_and_never_opened(stray, opened, folder):
    STRAYS[stray]()
    message = SAID.get(stray, "ME518 .*source/.* is a link that leads out of its folder")
    with pytest.raises(CheckpointError, match=message):
        api.run(job(), "out")
    problems = [p for check in verify("source", load=False) for p in check.findings]
    assert any(re.search(message, str(problem)) for problem in problems)
    inspect("source")
    assert outside(opened) == set()
    assert not [path for path in opened if path.startswith(("/dev/zero", "/proc/self/"))]
    assert {path.name for path in folder.iterdir()} == {"source", "outside", "small.yaml"}


@AS_ROOT
def test_a_device_is_refused_before_it_is_opened(opened):
    made("device")()
    with pytest.raises(CheckpointError, match=r"ME501 .*it is a device"):
        api.run(job(), "out")
    assert str(SHARD) not in opened


def test_what_transformers_would_follow_is_told_and_not_loaded():
    Path("source/generation_config.json").symlink_to("../outside/config.json")
    checks = verify("source")
    assert "ME518" in {problem.code for problem in checks[0].findings}
    assert not any("from_pretrained" in check.name and check.passed for check in checks)


def test_links_that_nobody_reads_are_nobodys_business():
    Path("source/README.md").symlink_to("/etc/hostname")
    assert api.run(job(), "out").files


def test_links_within_the_folder_are_followed():
    SHARD.rename("source/second")
    SHARD.symlink_to("second")
    Path("source").rename("real")
    Path("source").symlink_to("real")
    api.run(job(), "out")
    api.run(api.Job("small.yaml", "outside"), "wanted")
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))


def test_every_link_is_followed_where_that_is_asked_for():
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        linked(name, f"../outside/{name}")
    result = api.run(job(follow_links=True), "out", hash=True)
    assert result.files
    assert inspect("source", follow_links=True).problems == ()
    api.run(api.Job("small.yaml", "outside"), "wanted", hash=True)
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))
    assert not any(path.is_symlink() for path in Path("out").iterdir())


def test_the_command_follows_every_link_where_that_is_asked_for():
    linked(SHARD.name, "../outside/model.safetensors")
    for words in (
        runs.words(),
        ["plan", "small.yaml", "-s", "source"],
        ["validate", "small.yaml", "-s", "source"],
        ["inspect", "source"],
    ):
        status, told = runs.said(*words)
        assert status in (1, 2) and "ME518" in told and "--follow-links" in told
        status, told = runs.said(*words, "--follow-links")
        assert status == 0 and "ME518" not in told


def test_a_companion_that_becomes_a_link_after_planning_is_not_read(opened):
    planned = api.plan(job())
    opened.clear()
    linked("tokenizer.json", "../outside/tokenizer.json")
    with pytest.raises(CheckpointError, match="ME518"):
        api.run(job(), "out", planned=planned)
    assert outside(opened) == set()


# -- the Hub's cache ------------------------------------------------------------------------------


def cached(below=""):
    """The source as the Hub's cache has it; its snapshot."""
    blobs = Path("hub/models--some--model/blobs")
    snapshot = Path("hub/models--some--model/snapshots/0123abc", below)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, path in enumerate(sorted(Path("source").iterdir())):
        path.rename(blobs / f"{i:064x}")
        up = "/".join([".."] * (2 + bool(below)))
        (snapshot / path.name).symlink_to(f"{up}/blobs/{i:064x}")
    return snapshot


@pytest.mark.parametrize("below", ["", "original"])
def test_a_snapshot_of_the_hubs_cache_is_read(below):
    snapshot = cached(below)
    api.run(api.Job("small.yaml", snapshot), "out")
    api.run(api.Job("small.yaml", "outside"), "wanted")
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))
    assert inspect(snapshot).problems == ()


def test_a_cache_that_is_reached_by_a_link_is_read():
    snapshot = cached()
    Path("cache").symlink_to("hub")
    assert api.run(api.Job("small.yaml", Path("cache", *snapshot.parts[1:])), "out").files


def another_model(snapshot):
    os.renames("outside", "hub/models--another--model/blobs")
    return "../../../models--another--model/blobs/model.safetensors"


def out_of_the_blobs(snapshot):
    return "../../blobs/../../../outside/model.safetensors"


def a_blob_that_is_a_link(snapshot):
    (snapshot / "../../blobs/evil").symlink_to("../../../outside/model.safetensors")
    return "../../blobs/evil"


def blobs_that_are_a_link(snapshot):
    shutil.rmtree("hub/models--some--model/blobs")
    Path("hub/models--some--model/blobs").symlink_to("../../outside")
    return "../../blobs/model.safetensors"


def below_the_blobs(snapshot):
    Path("hub/models--some--model/blobs/folder").mkdir()
    shutil.copy("outside/model.safetensors", "hub/models--some--model/blobs/folder/one")
    return "../../blobs/folder/one"


FALSE = (another_model, out_of_the_blobs, a_blob_that_is_a_link, blobs_that_are_a_link,
         below_the_blobs)  # fmt: skip


@pytest.mark.parametrize("false", FALSE, ids=lambda one: one.__name__)
def test_what_only_looks_like_the_hubs_cache_is_refused(false):
    snapshot = cached()
    shard = snapshot / "model.safetensors"
    target = false(snapshot)
    shard.unlink()
    shard.symlink_to(target)
    with pytest.raises(CheckpointError, match="ME518"):
        api.plan(api.Job("small.yaml", snapshot))
