"""Mappings a person would write, and what they are told, word for word."""

from pathlib import Path

import pytest

from language.test_cases import said
from mapengine import api
from mapengine.errors import MapengineError

WRONG = Path(__file__).parent.parent / "cases" / "wrong"


def told_about(mapping: Path) -> list[str]:
    return said(MapengineError(*api.validate(mapping)))


@pytest.mark.parametrize("name", sorted(path.stem for path in WRONG.glob("*.yaml")))
def test_a_wrong_mapping_is_told(name, monkeypatch):
    monkeypatch.chdir(WRONG)
    expected = Path(f"{name}.txt").read_text()
    assert "\n".join(told_about(Path(f"{name}.yaml"))) + "\n" == expected
