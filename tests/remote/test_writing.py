"""Checkpoints written to an object store: whole or absent, gone on with, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import mapengine
from mapengine.checkpoints import leases, uploads
from mapengine.cli import cli
from mapengine.errors import MapengineError, OutputError
from remote.conftest import put_folder
from remote.test_reading import KINDS, files_of, make, said

OUT = "s3://models/out/one"
SHARDS = 400_000
"""Bytes of a shard at most: several are made."""


@pytest.fixture
def checkpoint(tmp_path, s3):
    """A checkpoint of this machine, and what comes of it in `here`."""
    source = make(tmp_path, *KINDS["safetensors"], layers=4)
    mapengine.run(job(tmp_path), tmp_path / "here", sync=False)
    return source


def job(folder, source=None, **options):
    options = {"max_shard_size": SHARDS, **options}
    return mapengine.Job(folder / "small.yaml", source or folder / "source", **options)


def send(folder, output=OUT, source=None, **options):
    return mapengine.run(job(folder, source), output, **options)


def there(s3, prefix="out/one/"):
    """What lies below a prefix."""
    listed = s3.client.list_objects_v2(Bucket="models", Prefix=prefix).get("Contents", [])
    got = {entry["Key"]: s3.client.get_object(Bucket="models", Key=entry["Key"])
           for entry in listed}  # fmt: skip
    return {key.removeprefix(prefix): answer["Body"].read() for key, answer in got.items()}


def unfinished(s3):
    """Multipart uploads that nobody completed."""
    return s3.client.list_multipart_uploads(Bucket="models").get("Uploads", [])


def test_an_output_in_an_object_store_is_that_of_a_folder(checkpoint, tmp_path, s3):
    result = send(tmp_path)
    wanted = files_of(tmp_path / "here")
    assert there(s3) == wanted
    assert result.files == {name: len(data) for name, data in sorted(wanted.items())}
    assert len([name for name in wanted if name.endswith(".safetensors")]) > 2
    written = [one.path for one in s3.asked if one.method == "PUT" and ".mapengine" not in one.path]
    assert written[-1].endswith("/mapengine.json")  # which says that all is there


def test_from_store_to_store_with_hashes(checkpoint, tmp_path, s3):
    mapengine.run(job(tmp_path), tmp_path / "hashed", hash=True, sync=False)
    url = put_folder(s3.client, checkpoint, "team/one")
    send(tmp_path, source=url, hash=True)
    assert there(s3) == files_of(tmp_path / "hashed")


def test_large_files_go_in_parts_and_become_visible_at_once(checkpoint, tmp_path, s3, monkeypatch):
    (tmp_path / "more").mkdir()
    make(tmp_path / "more", *KINDS["safetensors"], side=1500)
    mapengine.run(job(tmp_path / "more", max_shard_size=10**9), OUT)
    mapengine.run(job(tmp_path / "more", max_shard_size=10**9), tmp_path / "large", sync=False)
    assert there(s3) == files_of(tmp_path / "large")
    parts = [one for one in s3.asked if "partNumber" in one.query]
    assert len(parts) == 3 and unfinished(s3) == []


FAULTS = {
    "a part that fails": {"method": "PUT", "query": "partNumber=2", "times": 2},
    "an upload that cannot begin": {"method": "POST", "query": "uploads", "times": 2},
    "a completion that fails": {"method": "POST", "query": "uploadId", "times": 2},
    "a record that fails": {"method": "PUT", "path": "/records/", "times": 2},
    "a look that fails": {"method": "HEAD", "path": ".safetensors", "times": 2},
    "a receipt that fails": {"method": "PUT", "path": "/mapengine.json", "times": 2},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_can_pass_is_sent_again(fault, checkpoint, tmp_path, s3, monkeypatch):
    monkeypatch.setattr(uploads, "PART", 10**5)
    s3.fail(status=503, **fault)
    send(tmp_path)
    assert there(s3) == files_of(tmp_path / "here") and unfinished(s3) == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_cannot_pass_leaves_no_parts_and_is_gone_on_with(
    fault, checkpoint, tmp_path, s3, monkeypatch
):
    monkeypatch.setattr(uploads, "PART", 10**5)
    after = 0 if fault.get("path") == "/mapengine.json" else 1  # so that one is there by then
    s3.fail(**{**fault, "status": 403, "times": 1, "after": after})
    with pytest.raises(MapengineError, match="ME521"):
        send(tmp_path, workers=1)
    left = there(s3)
    assert unfinished(s3) == []
    assert "mapengine.json" not in left and ".mapengine/lease.json" not in left
    for name, data in files_of(tmp_path / "here").items():
        assert left.get(name, data) == data  # never a part of a file
    kept = send(tmp_path).kept
    assert there(s3) == files_of(tmp_path / "here") and unfinished(s3) == []
    records = sum(name.startswith(".mapengine/records/") for name in left)
    assert kept == records


def test_a_run_that_fails_before_anything_is_noted_leaves_nothing(checkpoint, tmp_path, s3):
    s3.fail(method="PUT", path="/records/", status=403)
    with pytest.raises(MapengineError, match="ME521") as raised:
        send(tmp_path, workers=1)
    assert raised.value.__notes__ == ["nothing is left behind"] and there(s3) == {}


def test_a_shard_that_was_changed_is_made_again(checkpoint, tmp_path, s3):
    s3.fail(method="PUT", path="/mapengine.json", status=403)
    with pytest.raises(MapengineError):
        send(tmp_path)
    name = min(name for name in there(s3) if name.endswith(".safetensors"))
    s3.client.put_object(Bucket="models", Key=f"out/one/{name}", Body=b"other")
    result = send(tmp_path)
    assert there(s3) == files_of(tmp_path / "here")
    assert result.kept == sum(name.endswith(".safetensors") for name in result.files) - 1


def test_a_run_that_was_finished_is_not_done_again(checkpoint, tmp_path, s3):
    time.sleep(1.1)  # the source must be older, and times there are whole seconds
    assert not send(tmp_path).was_finished
    s3.clear()
    assert send(tmp_path).was_finished
    assert not [one for one in s3.asked if one.method == "PUT" and ".mapengine" not in one.path]


def test_a_run_of_another_identity_is_refused_until_it_is_to_restart(checkpoint, tmp_path, s3):
    s3.fail(method="PUT", path="/mapengine.json", status=403)
    with pytest.raises(MapengineError):
        send(tmp_path)
    other = job(tmp_path, max_shard_size=200_000)
    with pytest.raises(OutputError, match=r"ME617 an unfinished run into s3://models/out/one"):
        mapengine.run(other, OUT)
    mapengine.run(other, OUT, restart=True)
    mapengine.run(other, tmp_path / "other", sync=False)
    assert there(s3) == files_of(tmp_path / "other")


def test_what_no_run_has_made_is_never_touched(checkpoint, tmp_path, s3):
    s3.client.put_object(Bucket="models", Key="out/one/notes.txt", Body=b"mine")
    for options in ({}, {"restart": True}):
        with pytest.raises(OutputError, match=r"ME611 .*is not empty: it holds notes\.txt"):
            send(tmp_path, **options)
    assert there(s3) == {"notes.txt": b"mine"}
    with pytest.raises(OutputError, match=r"ME611 .*nothing in an object store can be replaced"):
        send(tmp_path, overwrite=True)


def test_a_source_that_changes_leaves_nothing(checkpoint, tmp_path, s3):
    planned = mapengine.plan(job(tmp_path))
    os.utime(checkpoint / "model.safetensors")
    with pytest.raises(OutputError, match="ME615"):
        send(tmp_path, planned=planned)
    assert there(s3) == {} and unfinished(s3) == []


def test_an_output_within_its_source_is_refused(checkpoint, tmp_path, s3):
    url = put_folder(s3.client, checkpoint, "team/one")
    with pytest.raises(OutputError, match=r"ME611 .*lie one within the other"):
        send(tmp_path, output=f"{url}/out", source=url)


# -- one run at a time ----------------------------------------------------------------------------


def held_by(s3, **told):
    data = json.dumps({"process": 4711, "host": "elsewhere", **told}).encode()
    s3.client.put_object(Bucket="models", Key="out/one/.mapengine/lease.json", Body=data)


def test_a_second_run_is_refused_while_the_first_is_heard_of(checkpoint, tmp_path, s3):
    held_by(s3)
    with pytest.raises(OutputError, match=r"ME616 .*at work for process 4711 on elsewhere"):
        send(tmp_path)
    assert [*there(s3)] == [".mapengine/lease.json"]
    send(tmp_path, restart=True)
    assert there(s3) == files_of(tmp_path / "here")


def test_a_run_that_fell_silent_is_taken_over(checkpoint, tmp_path, s3, monkeypatch):
    held_by(s3)
    monkeypatch.setattr(leases, "DEAD", 0.5)
    time.sleep(2)
    send(tmp_path)
    assert there(s3) == files_of(tmp_path / "here")


def test_who_was_taken_over_stops(checkpoint, tmp_path, s3, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.1)

    def progress(done):
        held_by(s3)
        time.sleep(0.5)

    with pytest.raises(OutputError, match=r"ME616 .*was taken over by another run"):
        send(tmp_path, workers=1, progress=progress)
    assert json.loads(there(s3)[".mapengine/lease.json"])["process"] == 4711  # and keeps it


def test_a_late_write_of_another_run_is_seen_before_the_receipt(checkpoint, tmp_path, s3):
    def progress(done):
        s3.client.put_object(Bucket="models", Key=f"out/one/{done.shard.name}", Body=b"other")

    with pytest.raises(OutputError, match=r"ME616 .*is not what was sent there"):
        send(tmp_path, workers=1, progress=progress)
    assert "mapengine.json" not in there(s3)


def test_a_run_that_was_killed_is_gone_on_with(checkpoint, tmp_path, s3):
    """And the parts that it had sent are thrown away."""
    code = (
        f"from mapengine.checkpoints import uploads; uploads.PART = 10**5; import mapengine as m\n\
m.run(m.Job('small.yaml', 'source', max_shard_size={SHARDS}), {OUT!r}, workers=1)"
    )
    s3.fail(method="PUT", query="partNumber=3", after=1, wait=60)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (s3.faults and not s3.faults[0].times) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert unfinished(s3) != [] and ".mapengine/lease.json" in there(s3)
    s3.faults.clear()
    assert send(tmp_path).kept == 1
    assert there(s3) == files_of(tmp_path / "here") and unfinished(s3) == []


def test_a_signal_leaves_no_parts_and_gives_the_lease_back(checkpoint, tmp_path, s3):
    code = "from mapengine.checkpoints import uploads; uploads.PART = 10**5\n\
import sys; from mapengine.cli import main; main()"
    words = ["run", "small.yaml", "-s", "source", "-o", OUT, "--max-shard-size", str(SHARDS)]
    s3.fail(method="PUT", query="partNumber=3", after=1, wait=1)
    child = subprocess.Popen([sys.executable, "-c", code, *words, "--workers", "1"], cwd=tmp_path,
                             stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while not (s3.faults and not s3.faults[0].times) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert "terminated; the same command goes on from here" in child.communicate()[1]
    assert child.returncode == 128 + signal.SIGTERM
    assert unfinished(s3) == [] and ".mapengine/lease.json" not in there(s3)
    assert send(tmp_path).kept == 1
    assert there(s3) == files_of(tmp_path / "here")


def test_the_command_writes_to_a_url(checkpoint, tmp_path, s3):
    words = ["-s", tmp_path / "source", "-o", OUT, "--max-shard-size", SHARDS]
    text = said("run", tmp_path / "small.yaml", *words, "--scratch", tmp_path)
    assert f"→ {OUT}" in text
    assert there(s3) == files_of(tmp_path / "here")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("mapengine-")]


def test_parts_are_made_in_a_folder_that_all_see(checkpoint, tmp_path):
    words = ["run", str(tmp_path / "small.yaml"), "-s", str(tmp_path / "source"), "-o", OUT]
    done = CliRunner().invoke(cli, [*words, "--part", "1/2"])
    assert done.exit_code == 2 and "not at a URL" in done.output
