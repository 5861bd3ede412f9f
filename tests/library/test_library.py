"""Each mapping that ships gives what the official script gave, and goes back if it claims to."""

import fnmatch

import pytest
import torch
from golden import compare
from transformers import AutoConfig

from library import records
from library.cases import CASES
from mapengine import api
from mapengine.errors import MapengineError
from mapengine.ops import Exactness
from mapengine.planning.example import example_inventory

cases = pytest.mark.parametrize("case", CASES.values(), ids=str)
LOADABLE = [case for case in CASES.values() if not case.unloadable]


@pytest.fixture
def converted(case, tmp_path):
    """The source, what becomes of it, what had to be set, and the script's record."""
    values = case.write_source(tmp_path / "source")
    record = case.record
    assert records.digest_of_source(tmp_path / "source") == record["source"], (
        "regenerate the record"
    )
    api.run(case.job(tmp_path / "source", values), tmp_path / "there", sync=False)
    return tmp_path / "source", tmp_path / "there", values, record


@cases
def test_tensors_and_configs_are_those_of_the_script(converted, case):
    _, there, _, record = converted
    found = compare.tensor_differences(there, record)
    if record["config"] is not None:
        found += compare.file_differences(there, record)
    differ = {line.split(":")[0]: line for line in found}
    aside = {name: word for word in case.aside for name in fnmatch.filter(differ, word)}
    assert [line for name, line in differ.items() if name not in aside] == []
    assert {*aside.values()} == {*case.aside}  # each of them is still needed
    if record["generation_config"] is not None:
        assert compare.file_differences(there, record, "generation_config") == []


def model_class(folder):
    import transformers

    return getattr(transformers, AutoConfig.from_pretrained(folder).architectures[0])


@cases
def test_it_loads_into_the_class_with_nothing_missing_or_left(converted, case):
    _, there, _, _ = converted
    load = model_class(there).from_pretrained
    _, told = load(there, output_loading_info=True, dtype=torch.float32)
    assert any(told.values()) == bool(case.unloadable), told


@pytest.mark.parametrize("case", LOADABLE, ids=str)
def test_every_layout_of_the_target_is_the_same_model(converted, case, tmp_path):
    source, there, values, _ = converted
    target = case.loaded().target
    for layout in set(target.layouts()) - unloadable(case.mapping):
        chosen = case.chosen - target.layout_names | layout
        if not same_source(case, chosen):
            continue
        name = "+".join(sorted(chosen))
        other = tmp_path / f"there, {name}"
        api.run(case.job(source, values, layout=name or None), other, sync=False)
        if model_class(other) is model_class(there):
            assert_same_model(other, there)


def same_source(case, layout):
    """Whether a layout of the target is made of the same tensors: a head may want its own."""
    found = [
        {
            key
            for file in example_inventory(case.loaded(), one).files.values()
            for key in file.tensors
        }
        for one in (case.chosen, layout)
    ]
    return found[0] == found[1]


def unloadable(mapping):
    """Every layout of the target of which a case says that it does not load."""
    cases = [case for case in CASES.values() if case.mapping == mapping and case.unloadable]
    return {
        layout
        for case in cases
        for layout in case.loaded().target.layouts()
        if set(case.layout.split("+")) & case.loaded().target.layout_names <= layout
    }


def one_way_rules(mapping):
    """The rules that the proof says have no way back."""
    claims = api.prove(mapping).claims
    return {claim.rule.path for claim in claims if claim.exactness is Exactness.ONE_WAY}


@cases
@pytest.mark.parametrize("saver", ["mapengine", "transformers"])
def test_it_comes_back(converted, case, tmp_path, saver):
    source, made, _, _ = converted
    there = made
    if saver == "transformers" and case.unloadable:
        pytest.skip(case.unloadable)
    if saver == "transformers":  # as the installed version spells keys and config
        model_class(made).from_pretrained(made).save_pretrained(tmp_path / "saved")
        there = tmp_path / "saved"
    job = case.job(there, case.back_values, reverse=True, **case.back)
    if stuck := one_way_rules(case.mapping):
        with pytest.raises(MapengineError) as refused:
            api.plan(job)
        assert {problem.path.split(".")[0] for problem in refused.value.problems} == stuck
        return
    api.run(job, tmp_path / "back", sync=False)
    if not case.drifted:
        assert_came_back(tmp_path / "back", source)
        return
    again = case.job(
        tmp_path / "back", case.back_values
    )  # what comes back is as if it had not drifted
    api.run(again, tmp_path / "again", sync=False)
    assert compare.digests_of(tmp_path / "again") == compare.digests_of(made)


def assert_same_model(found, wanted):
    """As the installed transformers loads both: every field it knows, and every tensor."""
    one, two = (model_class(folder).from_pretrained(folder) for folder in (found, wanted))
    known = type(two.config)().to_dict().keys()
    fields = [{k: v for k, v in m.config.to_dict().items() if k in known} for m in (one, two)]
    assert compare.differences(*fields) == []
    assert compare.digest_of_all(one.state_dict()) == compare.digest_of_all(two.state_dict())


def assert_came_back(back, source):
    """Every tensor, and every value of a config that lies beside them."""
    assert records.values_of(back) == records.values_of(source)
    began, came = records.tensors_of(source), records.tensors_of(back)
    assert compare.digest_of_all(came) == compare.digest_of_all(began)


def test_every_mapping_that_ships_has_a_record():
    held = {path.stem for path in records.DIGESTS.glob("*.json")} | {"mixtral"}
    assert held == api.shipped_mappings().keys()
    assert {case.mapping for case in CASES.values()} | {"mixtral"} == held
