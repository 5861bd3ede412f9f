"""What a rule's trace says of each op is what the plan makes."""

import pytest

import mapengine
from mapengine.planning.tracing import Tracer
from mapengine.specs import TensorSpec
from report.pages import example_survey, shipped


def traces(one):
    """Every step with its trace."""
    tracers = {rule.path: Tracer(rule, one.binding) for rule in one.binding.mapping.rules}
    return [(step, tracers[step.rule.path].of(step)) for step in one.steps]


@pytest.mark.parametrize("name", shipped())
def test_traces_end_in_what_the_plan_makes_in_every_layout(name):
    for layout in mapengine.load(name).layouts():
        (one,) = example_survey(name, layout)
        found = {
            a: s
            for step, t in traces(one)
            for a, s in zip(step.targets.members, t.made, strict=True)
        }
        assert found == {address: tensor.spec for address, (_, tensor) in one.written.items()}


@pytest.mark.parametrize("name", ["mixtral", "gpt_neox", "bloom"])
def test_traces_go_backwards(name):
    (one,) = example_survey(name, reverse=True)
    found = {
        a: s for step, t in traces(one) for a, s in zip(step.targets.members, t.made, strict=True)
    }
    assert one.plan and found == {a: tensor.spec for a, (_, tensor) in one.written.items()}


def test_a_trace_tells_shapes_and_fans_between_ops():
    (one,) = example_survey("mixtral", frozenset({"hub", "mistral", "separate", "v4"}))
    (trace,) = {id(t): t for s, t in traces(one) if "w2" in s.sources.members[0][0]}.values()
    taken, cut, turned = TensorSpec("bfloat16", (280, 80)), (56, 80), (80, 56)
    assert (trace.taken.fans, trace.taken.specs) == ((), (taken,))
    assert [stage.call.name for stage in trace.stages] == ["split", "transpose"]
    for stage, shape in zip(trace.stages, (cut, turned), strict=True):
        assert stage.made.fans == (("expert", 5),)
        assert stage.made.specs == (TensorSpec("bfloat16", shape),) * 5
    assert trace.made == trace.stages[-1].made.specs


def test_the_dtype_of_a_side_is_a_stage_without_a_call():
    from mapengine.api import Job, survey_example

    (one,) = survey_example(Job("mixtral", "", dtype="float32"))
    stages = [trace.stages[-1] for _, trace in traces(one)]
    assert {(stage.call, stage.op.to) for stage in stages} == {(None, "float32")}
    assert all(tensor.spec.dtype == "float32" for _, tensor in one.written.values())
