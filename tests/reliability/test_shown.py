"""Keys and names of a checkpoint are not let through to a terminal as they are."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mapengine import api, verify
from mapengine.errors import MapengineError
from mapengine.report.checkpoints import checks_text
from reliability import runs
from reliability.paths import SHARD, job

pytestmark = pytest.mark.usefixtures("folder")


ODD = ("bell\a", "line\nME999 all is well", "red\x1b[31m", "back\u202etxt.exe", "nul\0", "del\x7f")


@pytest.mark.parametrize("word", ODD, ids=ascii)
def test_odd_characters_of_keys_and_names_are_escaped_wherever_they_are_shown(word, folder):
    save_file({word: torch.ones(1)}, SHARD)
    name = word.replace("\0", "")
    Path(f"source/{name}.safetensors").write_bytes(b"no tensors")
    for words in (
        runs.words(),
        ["inspect", "source"],
        ["plan", "small.yaml", "-s", "source"],
        ["validate", "small.yaml", "-s", "source"],
        ["inspect", f"source/{name}.safetensors"],
        ["run", "small.yaml", "-s", name, "-o", "o"],
        ["run", name, "-s", "source", "-o", "o"],
        ["run", "small.yaml", "-s", "source", "-o", name],
    ):
        for more in ([], ["--json"]):
            status, told = runs.said(*words, *more)
            assert status in (0, 1, 2) and (told.strip() or "--quiet" in words), words
            assert all(line.isprintable() for line in told.split("\n")), told
            assert not any(line.startswith("ME999") for line in told.split("\n")), told


def test_what_verify_finds_is_escaped():
    name = "line\nME999 all is well\u202e"
    save_file({name: torch.ones(1)}, SHARD, {"format": "pt"})
    Path(f"source/{name}.safetensors").write_bytes(b"no tensors")
    told = checks_text(verify("source", load=False)).split("\n")
    assert all(line.isprintable() for line in told)
    assert any("ME501" in line for line in told)
    assert not any(line.startswith("ME999") for line in told)


def test_a_name_that_is_no_text_is_shown_all_the_same():
    name = os.fsdecode(b"source/\xff.safetensors")
    Path(name).write_bytes(b"no tensors")
    for words in (["inspect", "source"], ["inspect", name], ["run", name, "-s", name, "-o", name]):
        for more in ([], ["--json"]):
            status, told = runs.said(*words, *more)
            assert status in (1, 2) and "udcff" in told, told
            assert "internal error" not in told


def test_keys_that_are_half_a_character_are_refused():
    header = b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    SHARD.write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    with pytest.raises(MapengineError, match=r"ME503 .*\\ud800"):
        api.run(job(), "out")
