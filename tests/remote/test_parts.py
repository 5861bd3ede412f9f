"""Parts, and tasks of a cluster, that read an object store."""

import json
from pathlib import Path

from safetensors.torch import save_file

from mapengine import api, parts
from mapengine.checkpoints.conversion import Conversion
from mapengine.checkpoints.links import SourceFolder
from mapengine.locations import location
from mapengine.saved import saved_job
from mapengine.spread import ShardTask, make_shard
from remote.conftest import put_folder
from remote.test_reading import files_of, make


def test_parts_of_an_object_store_come_to_what_a_run_of_a_folder_does(s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = make(tmp_path, save_file, "model.safetensors", layers=3)
    put_folder(s3.client, source, "source")
    there = api.Job("small.yaml", "s3://models/source", max_shard_size=150_000)
    for number in (2, 1):
        parts.run_part(there, "out", f"{number}/2")
    parts.publish("out")
    api.run(api.Job("small.yaml", "s3://models/source", max_shard_size=150_000), "whole")
    assert files_of(Path("out")) == files_of(Path("whole"))

    plan = api.plan(there)
    run = Conversion.of(plan, SourceFolder(location("s3://models/source")), Path("x"), False, False)
    Path("tasks").mkdir()
    told = json.dumps(saved_job(there, plan)["job"])
    for number, shard in enumerate(plan.shards):
        task = ShardTask(
            told, json.dumps(run.identity), str(Path("tasks").absolute()), number, 10**8,
            hash=False, sync=False,
        )  # fmt: skip
        made = make_shard(task)
        assert Path(made.folder, shard.name).read_bytes() == Path("out", shard.name).read_bytes()
