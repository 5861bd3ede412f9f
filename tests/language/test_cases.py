"""Every folder of `tests/cases/`: a mapping, a checkpoint, and what becomes of it.

`expected.yaml` is a list of runs, each a sentence (`it`) with what is changed in the checkpoint,
the options, and either all files that are written or all problems, word for word.
"""

from pathlib import Path

import pytest
import yaml

from language.checkpoints import changed, described, plain, read_checkpoint, write_checkpoint
from mapengine import api
from mapengine.errors import MapengineError

CASES = Path(__file__).parent.parent / "cases"


def runs():
    for expected in sorted(CASES.glob("*/expected.yaml")):
        for run in yaml.safe_load(expected.read_text()):
            yield pytest.param(expected.parent, run, id=f"{expected.parent.name}: {run['it']}")


def said(error: MapengineError) -> list[str]:
    """Every problem as it is printed, with what to do about it and the aliases it came by."""
    return [
        str(problem)
        + (f" (used by the alias at {problem.where.via})" if via(problem) else "")
        + (f"\n= {problem.help}" if problem.help else "")
        for problem in error.problems
    ]


def via(problem):
    return problem.where is not None and problem.where.via is not None


@pytest.mark.parametrize("case, run", list(runs()))
def test_case(case, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mapping.yaml").write_text((case / "mapping.yaml").read_text())
    source = yaml.safe_load((case / "source.yaml").read_text())
    write_checkpoint(changed(source, run.get("change", {})), Path("source"))
    job = api.Job("mapping.yaml", "source", **run.get("options", {}))
    if "refuses" in run:
        with pytest.raises(MapengineError) as caught:
            api.run(job, "output")
        assert said(caught.value) == [text.rstrip("\n") for text in run["refuses"]]
        assert sorted(path.name for path in Path().iterdir()) == ["mapping.yaml", "source"]
        return
    api.run(job, "output")
    written = read_checkpoint(Path("output"))
    del written["mapengine.json"]
    assert plain(written) == described(run["writes"])
