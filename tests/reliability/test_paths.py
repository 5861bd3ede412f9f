"""Names that lead elsewhere, and what is written: nothing outside of the output."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mapengine import api
from mapengine.checkpoints.workspace import place_of
from mapengine.errors import CheckpointError, OutputError, PlanError
from reliability import runs
from reliability.crash_sweep import is_possible as can_trace
from reliability.paths import SHARD, job, linked, outside

pytestmark = pytest.mark.usefixtures("folder")


NAMES = ("../outside/model.safetensors", "/etc/passwd", "~/x", "~root", "C:x", "C:\\x", "a\\b",
         "source/model.safetensors", "..", ".", "", "x\0y", "//x", "x" * 256)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_index_that_points_outside_is_refused(name, opened):
    SHARD.rename("source/model-00001-of-00001.safetensors")
    weight_map = {"norm": name, "layers.0.plain": "model-00001-of-00001.safetensors"}
    text = json.dumps({"weight_map": weight_map})
    Path("source/model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"ME514 .*points outside its folder") as refused:
        api.run(job(), "out")
    assert all(str(problem).isprintable() for problem in refused.value.problems)
    assert outside(opened) == set()


SHAPED = """\
mapengine: 1
name: shaped
source: {tensors: model.safetensors, config: config.json}
target: {tensors: "model-{kind}.safetensors", config: config.json}
config:
  layers: layers
  kind: {source: kind, target: kind}
tensors: [norm, "layers.0.plain", "layers.0.turned"]
"""


@pytest.mark.parametrize("word", ["/../../outside/model", "x/y", "x\0", "y" * 300])
def test_a_config_cannot_name_a_file_to_write_elsewhere(word, folder):
    """A word of the source's config stands in the name of a file that is written."""
    Path("small.yaml").write_text(SHAPED)
    Path("source/config.json").write_text(json.dumps({"layers": 1, "kind": word}))
    before = runs.digest(folder)
    with pytest.raises(PlanError, match=r"ME405 .*not an index or a word|ME603 .*is not the name"):
        api.run(job(), "out")
    assert runs.digest(folder) == before
    Path("source/config.json").write_text(json.dumps({"layers": 1, "kind": "good"}))
    assert "model-good.safetensors" in api.run(job(), "out").files


# -- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["outside", "nothing"])
def test_an_output_that_is_a_link_is_refused(target, folder):
    Path("out").symlink_to(target)
    before = runs.digest(folder / "outside")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"ME611 .*is there and is not a folder"):
            api.run(job(), "out", overwrite=overwrite)
    assert runs.digest(folder / "outside") == before
    assert {path.name for path in folder.iterdir()} == {"source", "outside", "small.yaml", "out"}


PLANTED = {
    "lock": "outside/config.json", "journal": "outside/config.json",
    "journal.new": "outside/config.json", "parts": "outside", "new": "outside", "old": "outside",
}  # fmt: skip


@pytest.mark.parametrize("how", ["symlink", "hard link"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_link_that_was_planted_in_the_workspace_is_refused(name, how, folder):
    place = place_of(Path("out"))
    place.mkdir()
    target = folder / PLANTED[name]
    if how == "symlink":
        (place / name).symlink_to(target)
    elif target.is_dir():
        pytest.skip("folders have no hard links")
    else:
        (place / name).hardlink_to(target)
    before = runs.digest(Path("outside"))
    with pytest.raises(OutputError, match=f"ME612 .*it holds '{name}'"):
        api.run(job(), "out")
    assert runs.digest(Path("outside")) == before
    assert not Path("out").exists()


def test_a_shard_that_became_a_link_is_made_again(folder):
    with pytest.raises(KeyboardInterrupt):
        api.run(job(max_shard_size=100_000), "out", progress=_stop, workers=1)
    shard = sorted((place_of(Path("out")) / "new").iterdir())[0]
    shutil.copy2(shard, "outside/copy")
    shard.unlink()
    shard.symlink_to(folder / "outside/copy")
    api.run(job(max_shard_size=100_000), "out")
    assert not any(path.is_symlink() for path in Path("out").iterdir())
    api.run(job(max_shard_size=100_000), "wanted")
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))


def _stop(done):
    if any(place_of(Path("out")).glob("new/*")):
        raise KeyboardInterrupt


# -- what the system was asked for ----------------------------------------------------------------

SYSTEM = (sys.prefix, sys.base_prefix, str(runs.ROOT), *filter(None, sys.path), "/usr", "/lib",
          "/etc", "/proc", "/sys", "/dev/null", "/dev/urandom")  # fmt: skip


CASES = {
    "good": lambda: None,
    "a link": lambda: linked(SHARD.name, "../outside/model.safetensors"),
    "our memory": lambda: linked(SHARD.name, "/proc/self/mem"),
}


def traced(*words):
    """The status of a run, its stderr, and the paths it opened: to read, and to write."""
    command = ["strace", "-f", "-y", "-e", "trace=open,openat,openat2,creat", "-o", "log"]
    done = subprocess.run(
        [*command, *runs.command(*words)], capture_output=True, text=True, env=runs.environment()
    )
    read, written = set(), set()
    for line in Path("log").read_text(errors="replace").splitlines():
        if found := re.search(r'"([^"]*)", ([A-Z_|]+).* = [0-9]', line):
            path = os.path.realpath(Path.cwd() / found[1])
            changes = re.search("O_WRONLY|O_RDWR|O_CREAT", found[2])
            (written if changes else read).add(path)
    Path("log").unlink()
    return done, read, written


@pytest.mark.skipif(not can_trace(), reason="takes strace, which may trace")
@pytest.mark.parametrize("case", CASES)
def test_the_system_is_asked_for_files_of_the_source_and_the_output_alone(case, folder):
    CASES[case]()
    done, read, written = traced("--overwrite", "--hash")
    assert done.returncode == (0 if case == "good" else 2), done.stderr
    assert outside(read | written) == set()
    inside = [str(folder / one) for one in ("source", "small.yaml", "out", ".out.mapengine")]
    allowed = (*SYSTEM, *inside, str(folder))
    assert [p for p in read if not p.startswith(allowed[:-1]) and p != allowed[-1]] == []
    assert [p for p in written if not p.startswith((*inside[2:], "/dev/null"))] == []
    assert case != "good" or (str(folder / SHARD) in read and written)
