"""A slice of the hunt that `make mutants` makes whole."""

import pytest

from mapengine import api
from mutants.hunt import hunt

EVERY = 60


@pytest.mark.parametrize("name", ["llama", "mistral", "mixtral"])
def test_mistakes_in_a_mapping_are_caught(name):
    found = hunt(name, EVERY)
    assert len(found) > 1
    assert [what for what, caught in found if caught == "nothing"] == []


def test_every_mapping_is_hunted_for_mistakes():
    """`make mutants` takes all that ship: each has mistakes to make, and a way to see them."""
    from mapengine.language.document import read_document
    from mutants.mistakes import mutants

    for name, path in api.shipped_mappings().items():
        assert len(list(mutants(read_document(path.read_text(), name).data))) > 40
