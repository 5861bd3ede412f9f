"""The same bytes, whoever runs it, wherever, and with however many hands."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reliability import runs

MAPPING = """\
mapengine: 1
name: same
source: {tensors: "*.safetensors", config: config.json}
target: {tensors: model.safetensors, config: config.json}
files: [tokenizer.json, notes.txt]
config: {layers: {source: layers, target: layers}, name: {source: name, target: nämlich}}
dims: {layer: layers}
tensors:
  - größe.{layer} -> ß.{layer}: {ops: [{transpose: [0, 1]}]}
  - plain.{layer}
  - half.{layer} -> half.{layer}: {ops: [{cast: bfloat16}]}
"""
ENVIRONMENTS = {
    "a locale of ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin": {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "a hash seed": {"PYTHONHASHSEED": "0"},
    "another": {"PYTHONHASHSEED": "4711"},
    "another time": {"TZ": "Pacific/Kiritimati"},
    "another home": {"HOME": "/", "TMPDIR": "/", "USER": "nobody"},
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "no bars": {"HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
}


def prepare(folder, order):
    """A source of several files, made in some order."""
    folder.mkdir(exist_ok=True)
    (folder / "small.yaml").write_text(MAPPING, encoding="utf-8")
    source = folder / "source"
    source.mkdir()
    writers = [
        lambda: (source / "config.json").write_text('{"layers": 6, "name": "Ähre"}', "utf-8"),
        lambda: (source / "tokenizer.json").write_text("{}"),
        lambda: (source / "notes.txt").write_text("ä", "utf-8"),
    ]
    for i in range(6):
        tensors = {
            f"größe.{i}": torch.arange(300 * 301).reshape(300, 301).add(i).short(),
            f"plain.{i}": torch.arange(40_000).add(i),
            f"half.{i}": torch.arange(3_000).mul(0.37 + i),
        }
        writers.append(lambda t=tensors, i=i: save_file(t, source / f"{i}.safetensors"))
    for i in order:
        writers[i]()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """A folder with the source, and what an undisturbed run makes of it."""
    home = tmp_path_factory.mktemp("wanted")
    prepare(home, range(9))
    return home, content(made(home, "wanted"))


def made(folder, output, *more, **options):
    command = runs.command("--hash", *more, output=output)
    environment = {**runs.environment(), **options.pop("environment", {})}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return folder / output


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_for_any_number_of_workers(workers, wanted, tmp_path):
    home, expected = wanted
    assert content(made(home, tmp_path / "out", "--workers", str(workers))) == expected


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_in_any_environment(name, wanted, tmp_path):
    home, expected = wanted
    assert content(made(home, tmp_path / "out", environment=ENVIRONMENTS[name])) == expected


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o002])
def test_with_any_umask_which_says_what_modes_there_are(umask, wanted, tmp_path):
    home, expected = wanted
    out = made(home, tmp_path / "out", umask=umask)
    assert content(out) == expected
    assert out.stat().st_mode & 0o777 == 0o777 & ~umask
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o666 & ~umask}


def test_from_any_place(wanted, tmp_path):
    home, expected = wanted
    command = [
        *runs.command("--hash")[:4], str(home / "small.yaml"), "--source",
        f"../{home.name}/source/.", "--output", str(tmp_path / "out"), "--hash", *runs.OPTIONS,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=home, env=runs.environment(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == expected


def test_for_any_order_in_which_the_folder_lists_its_files(wanted):
    """A file system in memory lists what was made last first."""
    shm = Path("/dev/shm")
    if not (shm.is_dir() and os.access(shm, os.W_OK)):
        pytest.skip("takes a file system in memory")
    _, expected = wanted
    orders = []
    for order in (range(9), range(8, -1, -1), [4, 0, 8, 2, 6, 1, 7, 3, 5]):
        with tempfile.TemporaryDirectory(dir=shm) as home:
            prepare(Path(home), order)
            orders.append([path.name for path in Path(home, "source").iterdir()])
            assert content(made(Path(home), "out")) == expected
    assert len(set(map(tuple, orders))) == 3
