"""What an adapter_config.json says of the factors, and what it must say of new ones. Pure.

It is foreign: patterns in it are compared as names and never run, and what it asks for beyond plain
low-rank updates is refused by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mapengine.adapters.names import WHOLE, Patterns, pattern_of, shortest, targets
from mapengine.binding.config_values import told
from mapengine.errors import CheckpointError, OpError, Problem
from mapengine.specs import ADAPTER_CONFIG as CONFIG

_NOT_LINEAR = {
    "use_dora": "DoRA scales the rows of the sum of weight and update by magnitudes of their own",
    "lora_bias": "its lora_B have biases, which are no part of a weight",
    "use_qalora": "QA-LoRA pools its inputs",
    "layer_replication": "it repeats layers of the model",
    "target_parameters": "it adapts parameters that are no module's weight",
    "trainable_token_indices": "it trains single rows of a table",
    "use_bdlora": "its factors are blocks of a diagonal",
    "kasa_config": "KaSA cuts the model's own weights down",
    "arrow_config": "Arrow routes between several adapters",
    "velora_config": "VeLoRA is not a plain low-rank update",
    "monteclora_config": "MonteCLoRA is not a plain low-rank update",
    "megatron_config": "its modules are Megatron's parallel ones",
    "ensure_weight_tying": "it ties the factors of tied modules",
}
_CHANGE_WEIGHTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin that take something off the model's own weights, every time it is loaded."""
_CARRIED = {
    "alora_invocation_tokens", "bias", "corda_config", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config",
    "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "alpha_pattern", "revision", "runtime_config", "target_modules", "task_type",
    "use_rslora", "auto_mapping", "base_model_name_or_path",
}  # fmt: skip
_HELP = "merge the adapter into the weights with PEFT, and map those"


@dataclass(frozen=True)
class AdapterConfig:
    """An adapter_config.json that is understood, and what of it bears on the factors."""

    raw: Mapping[str, Any]
    rank: int
    alpha: Fraction
    rslora: bool
    inputs_first: bool
    """Whether the weights are stored with a row for every input (`fan_in_fan_out`)."""
    bias: str
    saved: tuple[str, ...]
    """`modules_to_save`: ends of the names of modules that are there whole."""
    ranks: Patterns[int]
    alphas: Patterns[int | float]

    @staticmethod
    def read(raw: Any) -> AdapterConfig:
        """Raises `CheckpointError` with all that is wrong with it, or not supported."""
        if not isinstance(raw, dict):
            raise CheckpointError(Problem("ME430", f"{CONFIG} is not a JSON object"))
        if problems := [*_wrong(raw), *_unsupported(raw)]:
            raise CheckpointError(*problems)
        return AdapterConfig(
            raw,
            raw["r"],
            Fraction(raw["lora_alpha"]),
            raw.get("use_rslora") or False,
            raw.get("fan_in_fan_out") or False,
            raw.get("bias") or "none",
            tuple(raw.get("modules_to_save") or ()),
            Patterns.of(raw.get("rank_pattern") or {}),
            Patterns.of(raw.get("alpha_pattern") or {}),
        )

    def alpha_of(self, module: str) -> Fraction:
        found = self.alphas.value(module)
        return self.alpha if found is None else Fraction(found)

    def rank_of(self, module: str) -> int | None:
        """What it says of a module's rank; None where it says so in more than names."""
        if self.ranks.foreign:
            return None
        return self.ranks.value(module) or self.rank

    def is_saved(self, key: str) -> bool:
        """Whether a tensor belongs to one of `modules_to_save`, by the ends of names."""
        module = key.rpartition(".")[0]
        while module:
            if module.endswith(self.saved):
                return True
            module = module.rpartition(".")[0]
        return False

    def rewritten(
        self,
        updates: Mapping[str, tuple[int, int | float]],
        saved: frozenset[str],
        modules: frozenset[str],
        *,
        inputs_first: bool,
        base_model: str | None,
    ) -> dict[str, Any]:
        """The config of an adapter of other `modules`: `updates` have each one's rank and alpha.

        Raises `OpError` where PEFT would save other modules than these.
        """
        own = (self.rank, as_number(self.alpha))
        counts = Counter(updates.values())
        default = own if own in counts else max(counts, key=lambda pair: counts[pair])
        patterns = pattern_of(updates, default)
        return {
            **self.raw,
            "r": default[0],
            "lora_alpha": default[1],
            "rank_pattern": {k: r for k, (r, _) in patterns.items() if r != default[0]},
            "alpha_pattern": {
                k: alpha for k, (_, alpha) in patterns.items() if alpha != default[1]
            },
            "target_modules": targets(updates, modules - updates.keys()),
            "modules_to_save": _saved(saved, modules, updates) or None,
            "fan_in_fan_out": inputs_first,
            "base_model_name_or_path": base_model,
            **dict.fromkeys(("exclude_modules", "layers_to_transform", "layers_pattern")),
            **dict.fromkeys(("revision", "auto_mapping")),
        }


def as_number(value: Fraction) -> int | float:
    """As JSON has it: a whole number where it is one."""
    return int(value) if value.denominator == 1 else float(value)


def _saved(saved: frozenset[str], modules: frozenset[str], updated: Collection[str]) -> list[str]:
    """`modules_to_save`, which PEFT compares with the end of a name, be it within a word.

    Raises `OpError` where another one ends in the whole of a name.
    """
    found = set()
    for name, end in shortest(saved, modules - saved).items():
        if end.startswith(WHOLE):
            longer = min(one for one in modules - saved if f".{one}".endswith(f".{name}"))
            raise OpError(f"PEFT saves {longer} too where it saves {name}", "ME344")
        clash = any(one.endswith(end) for one in modules - saved) or any(
            f".{end}." in f".{one}." for one in updated
        )
        found.add(name if clash else end)
    return sorted(found)


def _wrong(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Fields whose values are not of the kind that PEFT writes."""
    if not isinstance(raw.get("r"), int) or isinstance(raw["r"], bool) or raw["r"] < 1:
        yield _said("ME430", raw, "r", "where a whole number from 1 is wanted")
    if not _is_alpha(raw.get("lora_alpha")):
        yield _said("ME430", raw, "lora_alpha", "where a number other than 0 is wanted")
    for name in ("use_rslora", "fan_in_fan_out"):
        if not isinstance(raw.get(name, False), bool | None):
            yield _said("ME430", raw, name, "where true or false is wanted")
    if raw.get("bias") not in (None, "none", "all", "lora_only"):
        yield _said("ME430", raw, "bias", "which is none of none, all, lora_only")
    saved = raw.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(one, str) and one for one in saved):
        yield _said("ME430", raw, "modules_to_save", "where a list of names is wanted")
    for name, fits in (("rank_pattern", _is_rank), ("alpha_pattern", _is_alpha)):
        pattern = raw.get(name) or {}
        if not isinstance(pattern, dict) or not all(map(fits, pattern.values())):
            yield _said("ME430", raw, name, "where numbers by the names of modules are wanted")
        elif name == "alpha_pattern":
            yield from _not_names(pattern)


def _not_names(pattern: Mapping[str, Any]) -> Iterator[Problem]:
    """The keys of an alpha_pattern that are not names: no tensor says what they would match."""
    for key in Patterns.of(pattern).foreign:
        message = f"{CONFIG}: {told(key)} in alpha_pattern is a regular expression"
        yield Problem("ME431", message, help="foreign ones are not run: write names of modules")


def _unsupported(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """What makes it another thing than W + scale · B·A with fixed factors."""
    if raw.get("peft_type") != "LORA":
        yield _said("ME431", raw, "peft_type", "and only LORA can be mapped")
    for name, why in _NOT_LINEAR.items():
        if raw.get(name):
            yield Problem("ME431", f"{CONFIG}: {name} is {told(raw[name])}: {why}", help=_HELP)
    begun = raw.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(_CHANGE_WEIGHTS):
        message = (
            f"{CONFIG}: init_lora_weights is {told(begun)}, which changes the model's own weights"
        )
        help = "save it with PEFT's path_initial_model_for_weight_conversion, as a plain LoRA"
        yield Problem("ME431", message, help=help)
    for name in raw.keys() - _CARRIED - _NOT_LINEAR.keys():
        if raw[name]:
            message = f"{CONFIG}: {told(name)} is {told(raw[name])}, and is not known here"
            yield Problem("ME431", message, help=_HELP)


def _said(code: str, raw: Mapping[str, Any], name: str, wanted: str) -> Problem:
    found = told(raw[name]) if name in raw else "not there"
    return Problem(code, f"{CONFIG}: {name} is {found}, {wanted}")


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_alpha(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value != 0
