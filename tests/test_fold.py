import pytest

from mapengine.fold import fold

RANKS = [f"layers.{i}.wq.weight" for i in range(32)]
EXPERTS = [f"layers.{i}.experts.{e}.w1.weight" for i in range(32) for e in range(8)]


@pytest.mark.parametrize(
    "keys, folded",
    [
        ([], []),
        (["norm.weight"], [("norm.weight", 1)]),
        (["layers.7.wq"], [("layers.7.wq", 1)]),
        (RANKS, [("layers.{0...31}.wq.weight", 32)]),
        (RANKS[::-1], [("layers.{0...31}.wq.weight", 32)]),
        (EXPERTS, [("layers.{0...31}.experts.{0...7}.w1.weight", 256)]),
        (["a.0.conv.1.w", "a.1.conv.1.w", "a.2.conv.1.w"], [("a.{0...2}.conv.1.w", 3)]),
        (["a.0", "a.2", "a.3"], [("a.{0, 2, 3}", 3)]),
        (["a.0", "a.1"], [("a.{0, 1}", 2)]),
        ([f"a.{i}" for i in (0, 1, 2, 3, 7, 9, 10, 11)], [("a.{0...3, 7, 9...11}", 8)]),
        ([f"a.{i}" for i in range(0, 14, 2)], [("a.{0 … 12: 7 of them}", 7)]),
        (["0.w", "1.w", "2.w"], [("{0...2}.w", 3)]),
        (["a/0/b.1", "a/1/b.1", "a/2/b.1"], [("a/{0...2}/b.1", 3)]),
        (["r.08.w", "r.09.w", "r.10.w"], [("r.{08...10}.w", 3)]),
        (["a.w1", "a.w2", "a.w3"], [("a.w1", 1), ("a.w2", 1), ("a.w3", 1)]),
        (["b.0", "a.0", "b.1", "norm"], [("b.{0, 1}", 2), ("a.0", 1), ("norm", 1)]),
        (["a.0.1.2", "a.1.1.2", "a.2.1.2"], [("a.{0...2}.1.2", 3)]),
        (["a." + "9" * 5000], [(f"a.{'9' * 158} … {'9' * 80}", 1)]),
        (["a.\x1b\nb"], [("a.\\x1b\\nb", 1)]),
        (["a.\u0663"], [("a.\u0663", 1)]),
        (["", ".", "..0"], [("", 1), (".", 1), ("..0", 1)]),
    ],
)
def test_keys_that_differ_in_numbers_are_one_line(keys, folded):
    assert fold(keys) == folded
