"""Experts as transformers 5 holds them in memory, and as it saves them."""

import json

import pytest
import torch
from golden import compare
from safetensors.torch import load_file
from transformers import Qwen3MoeForCausalLM

from library import records
from library.cases import CASES
from mapengine import api

cases = pytest.mark.parametrize("name", ["published", "saved_by_version_5", "long_context"])


@pytest.fixture
def loaded(name, tmp_path):
    """The case's job, with what is made of its source; the source in memory."""
    case = CASES[f"qwen3_moe-{name}"]
    job = case.job(tmp_path / "source", case.write_source(tmp_path / "source"))
    api.run(job, tmp_path / "fused", sync=False)
    return Qwen3MoeForCausalLM.from_pretrained(tmp_path / "source", dtype=torch.bfloat16)


@cases
def test_what_is_in_memory_is_in_the_file(loaded, name, tmp_path):
    file, memory = load_file(tmp_path / "fused" / "model.safetensors"), loaded.state_dict()
    assert file.keys() == memory.keys()
    assert compare.digest_of_all(file) == compare.digest_of_all(memory)


@cases
def test_the_way_back_writes_what_transformers_saves(loaded, name, tmp_path):
    loaded.save_pretrained(tmp_path / "saved")
    saved = records.tensors_of(tmp_path / "saved")
    assert any(".experts.0.gate_proj." in key for key in saved)
    api.run(api.Job("qwen3_moe", tmp_path / "saved"), tmp_path / "again", sync=False)
    for fused in ("fused", "again"):
        job = api.Job("qwen3_moe", tmp_path / fused, reverse=True, layout="saved")
        api.run(job, tmp_path / f"{fused}-back", sync=False)
        back = records.tensors_of(tmp_path / f"{fused}-back")
        assert compare.digest_of_all(back) == compare.digest_of_all(saved)
    wanted, found = (
        json.loads((tmp_path / folder / "config.json").read_text())
        for folder in ("saved", "again-back")
    )
    assert found == {key: value for key, value in wanted.items() if key != "transformers_version"}
