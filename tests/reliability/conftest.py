"""What several tests of paths begin with."""

import shutil

import pytest

from reliability import runs
from reliability.paths import OPENED


@pytest.fixture
def opened():
    """The paths that Python has opened since."""
    OPENED.clear()
    return OPENED


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a test, with `source` and, the same, `outside`."""
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path, layers=1)
    shutil.copytree("source", "outside")
    return tmp_path
