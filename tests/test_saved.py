"""Plans in files: run as they were saved, or refused with what has changed."""

import json
import os
import shutil

import pytest

import mapengine
from mapengine.api import Job
from mapengine.cli import invoke
from mapengine.saved import check_saved, read_saved, saved_job


@pytest.fixture
def source(tmp_path):
    mapping = mapengine.load("mixtral")
    layout = mapengine.api.example_layout(mapping, None)
    mapengine.api.make_example(mapping, layout, tmp_path / "source")
    return tmp_path / "source"


def command(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["mapengine", *map(str, words)])
    return invoke()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_saved_plan_does_what_the_mapping_would(source, tmp_path, monkeypatch):
    plan, words = tmp_path / "plan.json", ["-s", source, "--max-shard-size", "200KB"]
    assert command(monkeypatch, "plan", "mixtral", *words, "-o", plan) == 0
    monkeypatch.chdir("/")
    assert command(monkeypatch, "run", plan, "-o", tmp_path / "one") == 0
    assert command(monkeypatch, "run", "mixtral", *words, "-o", tmp_path / "two") == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_plan_whose_source_has_changed_is_refused(source, tmp_path, monkeypatch, capsys):
    plan = tmp_path / "plan.json"
    assert command(monkeypatch, "plan", "mixtral", "-s", source, "-o", plan) == 0
    os.utime(source / "consolidated.safetensors", (1, 1))
    assert command(monkeypatch, "run", plan, "-o", tmp_path / "out") == 1
    assert "ME618" in (said := capsys.readouterr().err) and "the times of the source" in said
    assert not (tmp_path / "out").exists()


def test_a_plan_whose_mapping_has_changed_is_refused(source, tmp_path, monkeypatch, capsys):
    mapping, plan = tmp_path / "mixtral.yaml", tmp_path / "plan.json"
    shutil.copy(mapengine.api.shipped_mappings()["mixtral"], mapping)
    assert command(monkeypatch, "plan", mapping, "-s", source, "-o", plan) == 0
    mapping.write_text(mapping.read_text() + "# a word more\n")
    assert command(monkeypatch, "run", plan, "-o", tmp_path / "out") == 1
    assert "is out of date: the mapping" in capsys.readouterr().err


def test_what_decides_the_output_is_not_asked_for_again(source, tmp_path, monkeypatch, capsys):
    plan = tmp_path / "plan.json"
    assert command(monkeypatch, "plan", "mixtral", "-s", source, "-o", plan) == 0
    words = ["-o", tmp_path / "out", "--dtype", "float32"]
    assert command(monkeypatch, "run", plan, *words) == 2
    assert "--dtype: not for a saved plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("job"),
        lambda told: told.update(identity=[]),
        lambda told: told["job"].update(strange=1),
        lambda told: told["job"].update(reverse="yes"),
        lambda told: told["job"].update(max_shard_size=True),
        lambda told: told["job"].update(source={"a": 1}),
        lambda told: told["job"].pop("source"),
    ],
)
def test_what_is_no_plan_is_refused(change, source, tmp_path, monkeypatch, capsys):
    job = Job("mixtral", source)
    told = saved_job(job, mapengine.plan(job))
    change(told)
    (tmp_path / "plan.json").write_text(json.dumps(told))
    assert command(monkeypatch, "run", tmp_path / "plan.json", "-o", tmp_path / "out") == 2
    assert "ME619" in capsys.readouterr().err


def test_a_job_comes_back_as_it_was(source, tmp_path):
    job = Job("mixtral", source, {"theta": 5e5}, dtype="float32", layout="v4", max_shard_size=10**6)
    plan = mapengine.plan(job)
    (tmp_path / "plan.json").write_text(json.dumps(saved_job(job, plan)))
    back, of_run = read_saved(tmp_path / "plan.json")
    assert (back.values, back.dtype, back.layout) == ({"theta": 5e5}, "float32", "v4")
    check_saved(tmp_path / "plan.json", back, mapengine.plan(back), of_run)
