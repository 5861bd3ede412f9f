"""A Ray cluster of two nodes on this machine, for as long as the tests take."""

import ctypes
import fcntl
import importlib.util
import os
import socket
import struct

import pytest

WANTED = os.environ.get("MAPENGINE_TEST_RAY") == "1"
_NEW_NETWORK, _SET_FLAGS, _UP = 0x40000000, 0x8914, 1
NOTICES_DEATH = {  # a node that is gone, in about two seconds; one that is slow has twenty
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 2,
}


def pytest_collection_modifyitems(items):
    reason = None
    if not WANTED:
        reason = "takes a minute: make test-ray"
    elif importlib.util.find_spec("ray") is None:
        reason = "ray is not installed: pip install 'mapengine[ray]'"
    for item in items:
        if reason and "cluster" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=reason))


def _alone():
    """Leaves the network for one of our own, with nothing but loopback; False where we may not.

    Else Ray takes loopback for the host's own address, and asks there for minutes.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sh", b"lo", _UP))
    return True


@pytest.fixture(scope="session")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    is_alone = _alone()
    from ray.cluster_utils import Cluster
    from ray.util import get_node_ip_address

    where = {} if is_alone else {"node_ip_address": get_node_ip_address()}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": NOTICES_DEATH}
    started = Cluster(initialize_head=True, head_node_args={**head, **SMALL, **where})
    started.where = where
    yield started
    started.shutdown()


SMALL = {"object_store_memory": 80 * 2**20}


@pytest.fixture
def node(cluster):
    """The second node, which a test may kill: the next one gets another then."""
    alive = [one for one in cluster.worker_nodes if one.any_processes_alive()]
    if alive and not alive[0].dead_processes():
        return alive[0]
    return cluster.add_node(num_cpus=1, **SMALL, **cluster.where)
