"""Some of the tensors: those and no others, bit for bit, and never mistaken for a model."""

import json

import pytest
from safetensors.torch import load_file
from torch import equal

from mapengine import api
from mapengine.checkpoints.execute import run_plan
from mapengine.errors import MapengineError
from mapengine.saved import check_saved, read_saved, saved_job
from mapengine.verification.checks import verify


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("select") / "in"
    mapping = api.load("mixtral")
    api.make_example(mapping, api.example_layout(mapping, None), folder)
    return folder


@pytest.fixture(scope="module")
def whole(source):
    api.run(api.Job("mixtral", source), source.parent / "whole", sync=False)
    return load_file(source.parent / "whole" / "model.safetensors")


LAYER = "model.layers.1.*"


@pytest.mark.parametrize("select", [[LAYER], ["lm_head.weight", LAYER], ["*.q_proj.*", "*.w2.*"]])
def test_what_is_selected_is_written_and_nothing_beside(select, source, whole, tmp_path):
    result = api.run(api.Job("mixtral", source, select=select), tmp_path / "out", sync=False)
    assert [*result.files] == ["mapengine.json", "model.safetensors"]
    found = load_file(tmp_path / "out" / "model.safetensors")
    begins = [one.removesuffix("*") for one in select]
    if not any(one.startswith("*") for one in select):
        assert found.keys() == {k for k in whole if k.startswith(tuple(begins))}
    else:
        assert found.keys() == {k for k in whole if ".q_proj." in k or ".w2." in k}
    assert found and all(equal(tensor, whole[key]) for key, tensor in found.items())
    assert result.bytes_read < sum(t.nbytes for t in found.values()) + 1


def test_in_shards_the_index_lists_what_is_there(source, whole, tmp_path):
    job = api.Job("mixtral", source, select=[LAYER], max_shard_size=60_000)
    api.run(job, tmp_path / "out", sync=False)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == {key for key in whole if key.startswith(LAYER[:-1])}
    assert not (tmp_path / "out" / "config.json").exists()


def test_backwards_keys_are_those_of_the_source(source, whole, tmp_path):
    job = api.Job("mixtral", source.parent / "whole", reverse=True, select=["layers.0.*"])
    plan = api.plan(job)
    keys = [tensor.key for tensor in plan.tensors]
    assert keys and all(key.startswith("layers.0.") for key in keys) and not plan.configs


def test_after_another_mapping_it_selects_of_the_last(source):
    job = api.Job("mixtral", source, then="mixtral", then_reverse=True, select=["tok_*"])
    assert [tensor.key for tensor in api.plan(job).tensors] == ["tok_embeddings.weight"]


def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest(source):
    job = api.Job("mixtral", source, select=[LAYER, "model.layer.1.self_attn.q_proj.weight", "x"])
    with pytest.raises(MapengineError) as caught:
        api.plan(job)
    first, second = caught.value.problems
    assert (first.code, second.code) == ("ME318", "ME318")
    assert "self_attn.q_proj.weight" in first.help


def test_an_adapter_is_written_whole(source):
    with pytest.raises(MapengineError, match="ME345"):
        api.plan(api.Job("mixtral", source, adapter=source, select=["*"]))


def test_it_is_another_run_than_the_whole(source, tmp_path):
    api.run(api.Job("mixtral", source, select=[LAYER]), tmp_path / "out", sync=False)
    again = api.run(api.Job("mixtral", source, select=[LAYER]), tmp_path / "out", sync=False)
    assert again.was_finished
    with pytest.raises(MapengineError, match="ME611"):
        api.run(api.Job("mixtral", source), tmp_path / "out", sync=False)


def test_a_saved_plan_keeps_the_selection(source, tmp_path):
    job = api.Job("mixtral", source, select=[LAYER])
    told = json.loads(json.dumps(saved_job(job, api.plan(job))))
    (tmp_path / "plan.json").write_text(json.dumps(told))
    read, identity = read_saved(tmp_path / "plan.json")
    plan = api.plan(read)
    check_saved(tmp_path / "plan.json", read, plan, identity)
    assert list(read.select) == [LAYER] and plan.options.select == (LAYER,)
    run_plan(plan, source, tmp_path / "out", sync=False)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_verify_knows_that_it_is_no_model(source, tmp_path):
    api.run(api.Job("mixtral", source, select=[LAYER]), tmp_path / "out", sync=False)
    checks = verify(tmp_path / "out", source=source)
    assert not [finding for check in checks for finding in check.findings]
    assert sum("no model" in (check.skipped or "") for check in checks) == 4
    assert checks[-1].skipped is None or not checks[-1].skipped
