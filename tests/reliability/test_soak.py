"""A slice of what `make soak` does for as long as one likes, with checks of the check."""

import os
import signal

import pytest

from mapengine.ops.rope_permute import RopePermute
from reliability.random_kills import load
from reliability.random_mapping import trial
from reliability.soak import Soak, Wrong

SEED, TRIALS = 4, 8


@pytest.fixture(scope="module", autouse=True)
def prepared():
    load()


def test_mappings_at_random_come_to_what_torch_makes_and_back_through_kills(tmp_path):
    soak = Soak(tmp_path, SEED)
    for number in range(TRIALS):
        soak.run(number)
    assert soak.seen["trials"] == TRIALS and soak.seen["taken back"] and soak.seen["killed"]


def test_a_trial_is_what_its_seed_makes_it():
    one, other = trial("1 2"), trial("1 2")
    assert one.text == other.text != trial("1 3").text
    assert {name: [*held] for name, held in one.files.items()} == {
        name: [*held] for name, held in other.files.items()
    }


def test_a_wrong_op_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("mapengine.ops.rope_permute.RopePermute.apply", lambda self, given: given)
    with pytest.raises(Wrong, match=r"there: .* has other values than it must have"):
        _until_seen(tmp_path)


def test_a_wrong_inverse_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(RopePermute, "inverse", lambda self: self)
    with pytest.raises(Wrong, match=r"back: .* has other values than it must have"):
        _until_seen(tmp_path)


def test_an_output_that_is_half_an_output_is_seen(tmp_path, monkeypatch):
    """A run that is killed where it has published something, and not all of it."""
    from mapengine.checkpoints import execute

    real = execute.run_plan

    def hasty(plan, source, output, **options):
        if output.name == "there" and not output.exists():
            output.mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(plan, source, output, **options)

    monkeypatch.setattr("mapengine.checkpoints.execute.run_plan", hasty)
    with pytest.raises(Wrong, match="there is neither what it was nor what it is to be"):
        _until_seen(tmp_path)


def _until_seen(folder):
    """Trials with the op in them, one after the other; at least one shows the mistake."""
    soak = Soak(folder, SEED)
    found = [n for n in range(60) if "rope_permute" in trial(f"{SEED} {n}").words]
    for number in found[:12]:
        soak.run(number)
