"""The model of how a run scales, and the page that shows it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.scaling import Node, Storage, main, predict

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
NODE = Node(rate=4e9, price=2.0, begin=20)


@pytest.mark.parametrize("total", [1e9, 40e9, 1e12])
def test_more_nodes_take_no_longer_and_no_more_than_all_that_storage_gives(total):
    storage = Storage(node=3e9, total=total)
    found = [predict(1e12, 5e9, nodes, NODE, storage) for nodes in range(1, 300)]
    times = [one.seconds for one in found]
    assert times == sorted(times, reverse=True)
    assert times[-1] >= 2 * NODE.begin + 2e12 / total


def test_a_shard_is_the_least_that_a_node_makes():
    storage = Storage(node=3e9, total=1e15)
    alone = predict(1e12, 5e9, 200, NODE, storage).seconds
    assert predict(1e12, 5e9, 1000, NODE, storage).seconds == alone
    assert "200 shards on 150" in predict(1e12, 5e9, 150, NODE, storage).limit
    assert predict(1e12, 1e9, 1000, NODE, storage).seconds < alone


def test_the_table_on_the_page_is_what_the_model_says():
    told = CliRunner().invoke(main, ["--only-model"]).output
    assert told.count("\n") > 8 and told in PAGE.read_text()
