"""Mappings a person would write, and what they are told, word for word.

In `wrong/` what is wrong in meaning, all of it at once; in `slips/` one slip of the hand in each,
of which one message says where it is and what to write instead.
"""

from pathlib import Path

import pytest

from language.test_cases import said
from mapengine import api
from mapengine.errors import MapengineError

CASES = Path(__file__).parent.parent / "cases"
WRONG = sorted([*CASES.glob("wrong/*.yaml"), *CASES.glob("slips/*.yaml")])


def told_about(mapping: Path) -> list[str]:
    return said(MapengineError(*api.validate(mapping)))


@pytest.mark.parametrize("mapping", WRONG, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_wrong_mapping_is_told(mapping, monkeypatch):
    monkeypatch.chdir(mapping.parent)
    expected = mapping.with_suffix(".txt").read_text()
    assert "\n".join(told_about(Path(mapping.name))) + "\n" == expected


@pytest.mark.parametrize("slip", sorted(CASES.glob("slips/*.yaml")), ids=lambda path: path.stem)
def test_a_slip_is_one_message_with_its_place_and_a_cure(slip):
    (problem,) = api.validate(slip)
    assert problem.where is not None and problem.help
