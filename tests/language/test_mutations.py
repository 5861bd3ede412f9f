"""Mappings changed at random: whatever is wrong with them is said, and nothing else is raised."""

import copy
import random
from pathlib import Path

import pytest
import yaml

from mapengine import api
from mapengine.errors import Problem

ROOT = Path(__file__).parents[2]
MAPPINGS = [ROOT / "mappings" / "mixtral.yaml", *sorted(ROOT.glob("tests/cases/*/mapping.yaml"))]
STRANGE = [
    None, True, 0, -1, 2.5, 10**13, "", "x", "layer", "{layer}", "{nope}", "{", "a -> b", "->",
    "a, b -> c", "a -> b, c", "1 // 0", "layer >", "heads * hidden", "layout", "../x", "a.b:c",
    "*.pt", "x.json", "same", "rest", float("inf"),
    [], ["a"], [["a"]], [1, 2], {}, {"a": 1}, {"source": "a"}, {"into": "layer"}, {"native": "a"},
    "split", [{"split": {"into": "layer"}}], [{"concat": {"over": "expert"}}], [{"stack": {}}],
    [{"rearrange": "a b -> b a"}], [{"permute": [0]}], [{"cast": "float16"}],
]  # fmt: skip


def places(data, path=()):
    """The path of every value."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def mutated(data, chance):
    """A copy of `data` with one to three values changed, taken away, or put elsewhere."""
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 3)):
        everywhere = list(places(data))
        if not everywhere:
            break
        *steps, last = chance.choice(everywhere)
        parent = data
        for step in steps:
            parent = parent[step]
        match chance.randrange(4):
            case 0:
                del parent[last]
            case 1:
                parent[last] = copy.deepcopy(chance.choice(STRANGE))
            case 2 if isinstance(parent, dict):
                parent[str(chance.choice(STRANGE))] = parent.pop(last)
            case _:
                other = data
                for step in chance.choice(everywhere):
                    other = (
                        other[step]
                        if isinstance(other, dict | list) and holds(other, step)
                        else other
                    )
                parent[last] = copy.deepcopy(other)
    return data


def holds(value, step):
    return step in value if isinstance(value, dict) else isinstance(step, int) and step < len(value)


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_changed_mapping_is_read_or_refused(path, tmp_path, times=15):
    data = yaml.safe_load(path.read_text())
    for seed in range(times):
        changed = yaml.safe_dump(
            mutated(data, random.Random(f"{path.name}{seed}")), sort_keys=False
        )
        file = tmp_path / "changed.yaml"
        file.write_text(changed)
        problems = api.validate(file)
        assert all(isinstance(problem, Problem) for problem in problems), changed
        assert all(problem.where is not None for problem in problems), (problems, changed)
