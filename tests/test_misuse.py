"""What a person does wrong on the command line and in Python, and the one way out they are told."""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

import pytest
import torch

import mapengine
from mapengine import Job, api, cli
from mapengine.checkpoints.example_files import write_example

RUN = "Example: mapengine run mappings/NAME.yaml --source CHECKPOINT --output CONVERTED"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the example of a mapping, converted, and some things that are neither."""
    folder = tmp_path_factory.mktemp("misuse")
    job = Job("mixtral", folder / "source")
    mixtral = mapengine.load("mixtral")
    (folder / "source").mkdir()
    write_example(mixtral, next(iter(mixtral.layouts())), folder / "source")
    mapengine.run(job, folder / "converted")
    (folder / "wide.yaml").write_bytes("mapengine: 1\n".encode("utf-16"))
    (folder / "a_file").write_text("x")
    (folder / "mine.yaml").write_text("mapengine: 1\n")
    return folder


def told(folder, words):
    """What a command line says on either stream, its lines without the frame, and its exit."""
    said = io.StringIO()
    before, argv = Path.cwd(), sys.argv
    sys.argv = ["mapengine", *words]
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = cli.invoke()
    finally:
        os.chdir(before)
        sys.argv = argv
    return status, said.getvalue()


@pytest.mark.parametrize(
    "words, message, cure",
    [
        ("run mixtral -s sourc -o out", "ME501 sourc: No such file", "did you mean 'source'?"),
        ("run mixtral -s some/model -o out", "ME501 some/model:", "hf://some/model"),
        ("run mixtral -s nowhere -o out", "ME501 nowhere:", "nowhere is where it was looked for"),
        ("run mixtral -s converted -o out", "ME420 no layout fits", "--reverse takes it back"),
        ("run mixtral --reverse -s source -o out", "ME420 no layout fits", "leave --reverse out"),
        (
            "run mixtral -s converted/model.safetensors -o out",
            "is a file, where the folder of a checkpoint is wanted",
            "name its folder: converted",
        ),
        ("inspect a_file", "ME501 a_file is a file", "name its folder: ."),
        ("run mixtral -s source -o a_file", "ME611 a_file is there", "name another path"),
        ("run mixtral -s source -o source/out", "lie one within the other", "beside the source"),
        ("run mixtrl.yaml -s source -o out", "ME100 cannot read mixtrl.yaml", "'mixtral'? It ship"),
        ("run min.yaml -s source -o out", "ME100 cannot read min.yaml", "did you mean 'mine.yaml'"),
        ("plan source", "ME100 source is not a file", "goes with --source"),
        ("run mixtral -s source -o out --dtype bf16", "'bf16' is not one of", "mean 'bfloat16'?"),
        ("run mixtral -s source -o out --format st", "'st' is not one of", "mean 'safetensors'?"),
        ("run mixtral -s source -o out --dtpye x", "No such option '--dtpye'", "'--dtype'"),
        ("run mixtral -s source -o out --max-shard-size 5 GB", "argument (GB)", "5GB has none"),
        ("run mixtral -s source -o out --set heads 4", "'heads' is not NAME=VALUE", RUN),
        ("run mixtral -s source -o out --set head=4", "ME406 --set head", "did you mean 'heads'?"),
        ("run mixtral -s source -o out --set heads=x", '--set heads is "x"', "correct it"),
        ("run -s source -o out", "Missing argument 'MAPPING'", RUN),
        ("run mixtral -s source", "--output is missing", RUN),
        ("mixtral", "'mixtral' is a mapping", "mapengine run mixtral"),
        ("validate converted/config.json", "ME203 this is no mapping", "`mapengine: 1`"),
        ("validate converted/model.safetensors", "ME106", "this is a file of tensors"),
        ("validate wide.yaml", "ME106 the text is not UTF-8", "save it as UTF-8"),
        ("validate min.yaml", "ME100 cannot read min.yaml", "did you mean 'mine.yaml'?"),
        ("diff mixtral source", "one is a mapping", "name two of a kind"),
        ("diff source", "Missing argument 'OTHER'", "Example: mapengine diff"),
        ("report mixtral -o source", "--output source is a folder", "source/report.html"),
        ("rule 301", "there is no code '301'", "did you mean 'ME301'?"),
    ],
)
def test_a_wrong_command_line_is_told_with_a_way_out(words, message, cure, folder):
    status, said = told(folder, words.split())
    assert status in (1, 2)
    assert message in said and cure in said
    assert len(re.findall(r"^(?:\S+:\d+:\d+: )?ME\d+ |^Error: ", said, re.MULTILINE)) == 1, said
    assert "Traceback" not in said and not (folder / "out").exists()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mapengine.plan("mixtral"), "plan() takes a Job, not 'mixtral': plan(mapengine"),
        (lambda: mapengine.run("mixtral", "out"), "run() takes a Job, not 'mixtral'"),
        (lambda: Job({"mapengine": 1}, "x"), "Job(mapping=...) is a path, or a name"),
        (lambda: Job("mixtral", 3), "Job(source=...) is a path or a URL as text, not 3"),
        (lambda: Job("mixtral", "x", values=["heads=4"]), "is names and values: {'heads': 4}"),
        (lambda: Job("mixtral", "x", dtype=torch.bfloat16), "is its name: 'bfloat16', not torch"),
        (lambda: Job("mixtral", "x", layout=["hub"]), "several at once are 'one+other'"),
        (lambda: Job("mixtral", "x", max_shard_size="5GB"), "is a number of bytes: 5_000_000_000"),
        (lambda: Job("mixtral", "x", max_shard_size=True), "not True"),
        (lambda: Job("mixtral", "x", reverse="no"), "Job(reverse=...) is True or False, not 'no'"),
        (lambda: mapengine.run(Job("mixtral", "x"), None), "the folder to write, as a path"),
        (lambda: mapengine.run(Job("mixtral", "x"), "o", workers="2"), "is a number of threads"),
        (lambda: mapengine.run(Job("mixtral", "x"), "o", workers=0), "one at least must work"),
        (lambda: mapengine.run(Job("mixtral", "x"), "o", memory="4GB"), "bytes: 512_000_000"),
        (lambda: mapengine.load(None), "a mapping is a path, or a name of `mapengine list`"),
        (lambda: mapengine.load({"mapengine": 1}), "not {'mapengine': 1}"),
        (lambda: mapengine.validate(Job("mixtral", "x")), "a mapping is a path"),
        (lambda: mapengine.inspect(None), "a place is a path, or a URL as text, not None"),
    ],
)
def test_a_wrong_call_is_told_what_is_wanted(call, message):
    with pytest.raises((TypeError, ValueError)) as refused:
        call()
    assert message in str(refused.value)


def test_a_job_takes_what_it_says_it_takes(folder):
    job = Job(mapengine.load("mixtral"), folder / "source", values={}, dtype=None, layout="native")
    assert api.plan(job).bytes_written > 0
