"""A slice of what `make fuzz` does for as long as one likes, the same one every time."""

import random

import pytest

from hostile import fuzz
from hostile.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_at_random_are_read_or_refused(target):
    read = 0
    for number in range(TARGETS[target].slice):
        given = TARGETS[target].make(random.Random(f"{target} {number}"))
        try:
            read += fuzz.is_read(target, given)
        except (Exception, fuzz.Hang) as error:
            raise AssertionError(f"{target}, input {number}: {given[:2000]!r}") from error
    assert read, "every input was refused: nothing behind the first check is tried"


@pytest.mark.parametrize(
    "path", fuzz.crashers(), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_what_once_was_taken_wrongly_is_read_or_refused(path):
    fuzz.is_read(path.parent.name, fuzz.read_crasher(path))


def test_a_crash_is_seen(monkeypatch):
    broken = TARGETS["YAML"].__class__(TARGETS["YAML"].make, lambda text: 1 // 0, 1)
    monkeypatch.setitem(TARGETS, "YAML", broken)
    with pytest.raises(ZeroDivisionError):
        fuzz.is_read("YAML", "a: 1")


def test_a_hang_is_seen(monkeypatch):
    def hang(text):
        while True:
            pass

    broken = TARGETS["YAML"].__class__(TARGETS["YAML"].make, hang, 1)
    monkeypatch.setitem(TARGETS, "YAML", broken)
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    with pytest.raises(fuzz.Hang):
        fuzz.is_read("YAML", "a: 1")
