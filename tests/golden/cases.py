"""The small checkpoints whose conversion by the official script is on record.

`params` are in the words that script reads. Between them the cases cover grouped-query, multi-query
and multi-head attention, every spelling of `sliding_window` and `rope_theta`, 1 to 8 experts and
three dtypes. There is no case with `hidden_size != num_attention_heads * head_dim`: the script
reshapes q to a square, and refuses.
"""

from dataclasses import dataclass, field
from typing import Any

PLAIN = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-05,
    "vocab_size": 96,
}


@dataclass(frozen=True)
class Case:
    """One source checkpoint: `params` are the fields of `PLAIN` that differ, and more."""

    name: str
    dtype: str
    changes: dict[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name

    @property
    def params(self) -> dict[str, Any]:
        merged = PLAIN | self.changes
        return {word: value for word, value in merged.items() if word not in self.absent}

    @property
    def script_params(self) -> dict[str, Any]:
        """What the script is given: it stops at a null window, and null means absent."""
        null_window = self.params.get("sliding_window", 0) is None
        return {k: v for k, v in self.params.items() if not (null_window and k == "sliding_window")}


def case(name: str, dtype: str, absent: str = "", **changes: Any) -> Case:
    return Case(name, dtype, changes, frozenset(absent.split()))


CASES = {
    entry.name: entry
    for entry in [
        case("gqa", "bfloat16", num_local_experts=8, rope_theta=1e6),
        case("gqa_wide", "float16", num_attention_heads=8, hidden_size=64, rope_theta=1e6),
        case("gqa_float32", "float32", num_local_experts=3, rope_theta=1e6),
        case("mqa", "bfloat16", num_key_value_heads=1, num_local_experts=2, rope_theta=1e6),
        case("mha", "float16", num_key_value_heads=4, num_local_experts=5, rope_theta=1e6),
        case("mha_kv_heads_absent", "float32", absent="num_key_value_heads", rope_theta=1e6),
        case("mha_square_ffn", "bfloat16", num_key_value_heads=4, intermediate_size=32),
        case("window_int", "float32", sliding_window=8, num_local_experts=6),
        case("window_string", "bfloat16", sliding_window="4096", rope_theta=1e4),
        case("window_string_float32", "float32", sliding_window="4096", num_local_experts=7),
        case("window_null", "float16", sliding_window=None, rope_theta=1e6),
        case("theta_absent", "bfloat16", num_local_experts=2),
        case("theta_absent_float32", "float32"),
        case("theta_int", "float16", rope_theta=1000000, num_local_experts=3),
        case("theta_fraction", "float32", rope_theta=5e5 + 0.5, rms_norm_eps=1e-06),
        case("one_expert", "bfloat16", num_local_experts=1, num_hidden_layers=1),
        case("one_expert_float32", "float32", num_local_experts=1, num_hidden_layers=3),
        case("eight_experts_float16", "float16", num_local_experts=8, num_hidden_layers=4),
        case("eleven_layers", "bfloat16", num_hidden_layers=11, num_local_experts=2),
    ]
}
