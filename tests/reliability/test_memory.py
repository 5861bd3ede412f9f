"""Under a limit that the system holds a conversion to; `memory_limit.py` makes it a larger one."""

import pytest

from reliability import memory_limit

pytestmark = pytest.mark.skipif(
    not memory_limit.is_possible(), reason="takes root and a memory cgroup of version 1"
)


def test_a_source_larger_than_the_limit_is_converted_within_it(tmp_path):
    assert memory_limit.convert(tmp_path, limit=192 * 2**20, times=2) == 0


def test_a_conversion_that_takes_more_is_killed(tmp_path):
    """A check of the check: the limit is one."""
    assert memory_limit.convert(tmp_path, limit=24 * 2**20, times=2) == -9
