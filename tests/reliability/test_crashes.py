"""A slice of the sweeps that `make crash` makes whole."""

import os

import pytest

from reliability import crash_sweep, power_cuts, random_kills

STRUCK = 12


@pytest.mark.skipif(not crash_sweep.is_possible(), reason="takes strace, which may trace")
def test_no_kill_and_no_error_of_the_disk_at_a_system_call_leaves_half_an_output(tmp_path):
    sweep = crash_sweep.Sweep(tmp_path)
    points = sweep.points()
    assert {"renameat2", "fsync", "pwrite64", "fallocate"} <= {point.call for point in points}
    ends = []
    for i, point in enumerate(points[:: len(points) // STRUCK]):
        ends.append(sweep.strike(point, list(crash_sweep.FAULTS)[i % 3]))
    assert "killed" in ends and "failed" in ends


def test_the_sweep_sees_an_output_that_is_half_an_output(tmp_path, monkeypatch):
    """A check of the check: a run that publishes first, and writes then, is found out."""
    sweep = crash_sweep.Sweep(tmp_path)
    broken = crash_sweep.Point("fsync", 60_000, overwrite=False)
    real = crash_sweep._run

    def meddled(words, folder):
        done = real(words, folder)
        if words[0] == "strace":
            next((folder / "out").glob("*.safetensors")).unlink()
        return done

    monkeypatch.setattr(crash_sweep, "_run", meddled)
    with pytest.raises(AssertionError, match="neither old nor new"):
        sweep.strike(broken, "EIO")


def test_kills_at_random_moments_are_gone_on_from(tmp_path):
    ends = random_kills.kill_at_random(tmp_path, kills=10, seed=os.getpid())
    assert ends["killed"] >= 10


@pytest.mark.skipif(not power_cuts.is_possible(), reason="takes root and loop devices")
def test_power_cuts_leave_the_old_or_the_new(tmp_path):
    found = power_cuts.cut_at_random(tmp_path, cuts=4, seed=os.getpid())
    assert sum(found.values()) == 4
