"""Checkpoints in an object store: read by ranges, to the same bytes, whatever fails on the way."""

import json
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import mapengine
from mapengine import api
from mapengine.checkpoints.inspection import inspect
from mapengine.cli import cli
from mapengine.errors import CheckpointError, MapengineError
from remote.conftest import CREDENTIALS, put_folder

MB = 2**20
MAPPING = """\
mapengine: 1
name: small
source: {tensors: %s, config: config.json, ignore: {tensors: [left]}}
target: {tensors: model.safetensors, config: config.json}
files: [tokenizer.json]
config: {layers: {source: layers, target: layers}}
dims: {layer: layers}
tensors:
  - scope: layers.{layer}. -> blocks.{layer}.
    tensors:
      - plain
      - turned: {ops: [{transpose: [0, 1]}]}
  - norm
"""


def make(folder, save, name, layers=2, side=256):
    """A checkpoint, and its mapping beside it: a tensor of it is left out."""
    source = folder / "source"
    source.mkdir()
    tensors = {"norm": torch.arange(7, dtype=torch.bfloat16)}
    for i in range(layers):
        values = torch.arange(side * (side + 1), dtype=torch.float32) + i
        tensors[f"layers.{i}.plain"] = values.reshape(side, -1).to(torch.bfloat16)
        tensors[f"layers.{i}.turned"] = values.reshape(side + 1, -1).to(torch.bfloat16)
    tensors["left"] = torch.zeros(4 * MB, dtype=torch.uint8)
    save(tensors, source / name)
    (source / "config.json").write_text(json.dumps({"layers": layers}))
    (source / "tokenizer.json").write_text("{}" * 5000)
    (folder / "small.yaml").write_text(MAPPING % name)
    return source


def save_legacy(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


KINDS = {
    "safetensors": (save_file, "model.safetensors"),
    "zip": (torch.save, "model.pt"),
    "legacy": (save_legacy, "model.pt"),
}


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def convert(folder, source, output, **options):
    job = mapengine.Job(folder / "small.yaml", source)
    return mapengine.run(job, folder / output, sync=False, **options)


@pytest.fixture
def checkpoint(tmp_path, s3):
    """One of safetensors: its folder, and its URL."""
    source = make(tmp_path, *KINDS["safetensors"])
    url = put_folder(s3.client, source, "team/one")
    s3.clear()
    return source, url


# -- the same bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_of_an_object_store_is_what_comes_of_a_folder(kind, tmp_path, s3):
    source = make(tmp_path, *KINDS[kind])
    url = put_folder(s3.client, source, kind)
    convert(tmp_path, source, "here")
    convert(tmp_path, url, "there")
    convert(tmp_path, url, "small", memory=40 * 10**6, workers=3)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    assert files_of(tmp_path / "small") == files_of(tmp_path / "here")


def test_a_shipped_mapping_converts_its_example_from_an_object_store(tmp_path, s3):
    mapping = api.load("mixtral")
    settings = api.make_example(mapping, api.example_layout(mapping, None), tmp_path / "source")
    url = put_folder(s3.client, tmp_path / "source", "mixtral")
    for source, output in ((url, "there"), (tmp_path / "source", "here")):
        job = mapengine.Job(mapping, source, dict(settings.values))
        mapengine.run(job, tmp_path / output, sync=False)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_a_run_that_was_finished_is_not_done_again(checkpoint, tmp_path):
    _, url = checkpoint
    assert not convert(tmp_path, url, "out").was_finished
    assert convert(tmp_path, url, "out").was_finished


# -- how much is asked for ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_headers_take_few_requests_and_few_bytes(kind, tmp_path, s3):
    source = make(tmp_path, *KINDS[kind], layers=4, side=1024)
    url = put_folder(s3.client, source, kind)
    s3.clear()
    seen, here = inspect(url).to_dict(), inspect(source).to_dict()
    assert {**seen, "folder": ""} == {**here, "folder": ""}
    name = KINDS[kind][1]
    assert (source / name).stat().st_size > 20 * MB
    most = {"safetensors": 1, "zip": 13, "legacy": 11}  # a zip's end, and a header each
    assert s3.count("GET", name) <= most[kind]
    assert s3.sent(name) < MB
    assert sum("list-type" in one.query for one in s3.asked) == 1


def test_only_the_ranges_that_are_needed_are_fetched_each_once(tmp_path, s3):
    source = make(tmp_path, *KINDS["safetensors"], layers=6, side=1500)
    url = put_folder(s3.client, source, "large")
    s3.clear()
    result = convert(tmp_path, url, "out")
    name = "model.safetensors"
    data = [one for one in s3.asked if one.path.endswith(name)]
    needed = result.bytes_read
    assert needed > 50 * MB and (source / name).stat().st_size > needed + 4 * MB
    header = 2**18  # which is how much of a file is asked for at first
    assert s3.sent(name) <= header + needed * 1.01
    assert len(data) <= 1 + needed / (6 * MB)
    ranges = sorted(tuple(map(int, one.range[6:].split("-"))) for one in data[1:])
    assert all(end < start for (_, end), (start, _) in pairwise(ranges))


def test_a_plan_reads_no_tensor(tmp_path, s3):
    source = make(tmp_path, *KINDS["safetensors"], side=1500)
    url = put_folder(s3.client, source, "large")
    s3.clear()
    api.plan(mapengine.Job(tmp_path / "small.yaml", url))
    assert s3.count("GET", "model.safetensors") == 1
    assert s3.sent() < MB


# -- faults ---------------------------------------------------------------------------------------

PASSING = {
    "a connection that breaks": {"drop_at": 10, "times": 2},
    "a server that is busy": {"status": 503, "times": 3},
    "too many requests": {"status": 429},
    "a gateway that waits too long": {"status": 504},
    "a server that fails": {"status": 500},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_can_pass_is_asked_for_again(fault, checkpoint, tmp_path, s3):
    source, url = checkpoint
    convert(tmp_path, source, "here")
    s3.fail(path="model.safetensors", **fault)
    s3.fail(path="model.safetensors", after=1, **fault)
    s3.fail(path="config.json", **fault)
    s3.fail(path="/models", query="list-type", **fault)
    convert(tmp_path, url, "there")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    assert not any(one.times for one in s3.faults)


def test_a_slow_answer_is_given_up_and_asked_for_again(checkpoint, tmp_path, s3, monkeypatch):
    from mapengine.checkpoints import remote

    _, url = checkpoint
    monkeypatch.setitem(remote.S3, "read_timeout", 0.5)
    s3.fail(path="model.safetensors", wait=2)
    convert(tmp_path, url, "out")
    assert s3.count("GET", "model.safetensors") == 3  # a header twice, and the data


@pytest.mark.parametrize("status, code", [(403, "ME521"), (404, "ME501"), (401, "ME521")])
def test_what_cannot_pass_is_asked_for_once(status, code, checkpoint, tmp_path, s3):
    _, url = checkpoint
    s3.fail(path="model.safetensors", status=status, times=9)
    with pytest.raises(CheckpointError) as raised:
        convert(tmp_path, url, "out")
    (problem,) = raised.value.problems
    assert problem.code == code and f"{url}/model.safetensors: " in problem.message
    assert s3.count("GET", "model.safetensors") == 1
    assert not (tmp_path / "out").exists()


def test_a_place_that_stays_busy_is_given_up_and_gone_on_with(checkpoint, tmp_path, s3):
    source, url = checkpoint
    convert(tmp_path, source, "here")
    s3.fail(path="model.safetensors", after=1, status=503, times=99)
    with pytest.raises(CheckpointError) as raised:
        convert(tmp_path, url, "there")
    assert raised.value.problems[0].code == "ME522"
    assert "503" in str(raised.value) and "6 times" in str(raised.value)
    s3.faults.clear()
    convert(tmp_path, url, "there")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_an_object_that_changes_in_the_middle_is_noticed(checkpoint, tmp_path, s3):
    source, url = checkpoint
    job = mapengine.Job(tmp_path / "small.yaml", url)
    planned = api.plan(job)
    changed = bytearray((source / "model.safetensors").read_bytes())
    changed[-1] ^= 1
    s3.client.put_object(Bucket="models", Key="team/one/model.safetensors", Body=bytes(changed))
    with pytest.raises(MapengineError, match=r"ME615 model\.safetensors has changed"):
        mapengine.run(job, tmp_path / "out", planned=planned)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


# -- what is said, and what is not ----------------------------------------------------------------


def said(*words, code=0):
    done = CliRunner().invoke(cli, [*map(str, words)])
    wrong = done.exception if isinstance(done.exception, MapengineError) else None
    assert (wrong.exit_code if wrong else done.exit_code) == code, (done.output, done.exception)
    return f"{done.output}{wrong or ''}"


def test_commands_that_read_take_urls(checkpoint, tmp_path):
    source, url = checkpoint
    mapping = tmp_path / "small.yaml"
    assert "every source tensor is used" in said("plan", mapping, "-s", url)
    assert url in said("inspect", url)
    assert said("diff", source, url, "--values")
    assert said("diff", f"{url}/model.safetensors", source / "model.safetensors")
    assert "layers.1.plain" in said("explain", mapping, "layers.1.plain", "-s", url)
    assert said("validate", mapping, "-s", url)
    assert said("graph", mapping, "-s", url)
    said("report", mapping, "-s", url, "-o", tmp_path / "report.html")
    said("run", mapping, "-s", url, "-o", tmp_path / "out", "-q")
    said("verify", tmp_path / "out", "--no-load", "-s", url, code=1)  # it has no model class


def test_a_saved_plan_is_run_from_its_url(checkpoint, tmp_path):
    source, url = checkpoint
    said("plan", tmp_path / "small.yaml", "-s", url, "-o", tmp_path / "plan.json")
    said("run", tmp_path / "plan.json", "-o", tmp_path / "there", "-q")
    convert(tmp_path, source, "here")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


@pytest.mark.parametrize("command", ["verify", "infer x", "cp llama"])
def test_commands_that_take_paths_alone_say_so(command):
    done = CliRunner().invoke(cli, [*command.split(), "s3://models/one"])
    assert done.exit_code == 2
    assert "'s3://models/one' is a URL, and this must be a path" in done.output


WRONG = {
    "s3://key:secret@models/one": "s3://key@models/one: a URL holds no password",
    "s3://models/one?X-Amz-Signature=secret": "s3://models/one: a URL holds no password",
    "s3://": "s3:// names no folder",
    "nowhere://models/one": "no kind of place that is known here: nowhere://",
    "s3://models/none": "s3://models/none: there is nothing",
    "s3://other/none": "s3://other/none: there is nothing (404)",
    "s3://models/team/one/config.json": "s3://models/team/one/config.json: is a file",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_will_not_do_is_told_without_its_secrets(url, checkpoint):
    text = said("inspect", url, code=2)
    assert WRONG[url] in text and "secret" not in text


def test_credentials_are_told_to_nobody(checkpoint, tmp_path, s3):
    _, url = checkpoint
    texts = [said("plan", tmp_path / "small.yaml", "-s", url, "--json"), said("inspect", url)]
    said("plan", tmp_path / "small.yaml", "-s", url, "-o", tmp_path / "plan.json")
    said("run", tmp_path / "small.yaml", "-s", url, "-o", tmp_path / "out")
    s3.fail(path="model.safetensors", status=403, times=100)  # one may be read ahead, unwanted
    texts.append(said("run", tmp_path / "small.yaml", "-s", url, "-o", tmp_path / "b", code=2))
    texts += [(tmp_path / name).read_text() for name in ("plan.json", "out/mapengine.json")]
    for secret in CREDENTIALS.values():
        assert secret == "us-east-1" or secret not in "".join(texts)


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_missing_package_names_its_cure():
    out = python(
        "import sys; sys.modules['s3fs'] = None\n"
        "from mapengine.checkpoints.inspection import inspect\n"
        "try: inspect('s3://models/one')\n"
        "except Exception as error: print(error, error.problems[0].help)\n"
    )
    assert "ME520 s3://models/one: what reads s3:// is not installed" in out
    assert "pip install 'mapengine[s3]'" in out


def test_nothing_of_it_is_loaded_for_files_of_this_machine(tmp_path):
    make(tmp_path, *KINDS["safetensors"])
    out = python(
        "import sys, mapengine\n"
        f"job = mapengine.Job({str(tmp_path / 'small.yaml')!r}, {str(tmp_path / 'source')!r})\n"
        f"mapengine.run(job, {str(tmp_path / 'out')!r}, sync=False)\n"
        "print([name for name in ('fsspec', 's3fs', 'asyncio', 'httpx') if name in sys.modules])\n"
    )
    assert out == "[]\n"
