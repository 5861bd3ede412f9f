"""A PEFT adapter's folder as values: its config, and what its tensors are. Headers alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mapengine.adapters.config import AdapterConfig
from mapengine.checkpoints import storage
from mapengine.checkpoints.folder import describe_file, read_json
from mapengine.errors import CheckpointError, Problem
from mapengine.formats.refusal import shown
from mapengine.locations import Location
from mapengine.specs import ADAPTER_CONFIG, DTYPES, FileContents, StoredTensor, TensorSpec

PREFIX = "base_model.model."
FILES = {"safetensors": "adapter_model.safetensors", "torch": "adapter_model.bin"}
"""What PEFT looks for, in its order, by format."""
WHOLE = ".base_layer"
"""What PEFT puts between a module with factors and its own tensors."""

_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(\.weight)?")
_KINDS = {
    "lora_magnitude_vector": "DoRA's magnitudes cannot be mapped",
    "trainable_tokens_delta": "single rows of a table cannot be mapped",
    "lora_": "it is no lora_A.weight, lora_B.weight, lora_embedding_A or lora_embedding_B",
}


@dataclass(frozen=True, slots=True)
class LowRank:
    """The two factors of the update of one module's weight: scale · B · A.

    `a` has a row for every rank and one position for every input, `b` a row for every output.
    """

    module: str
    table: bool
    """Whether it is an embedding: its inputs are the rows of a table."""
    a: StoredTensor
    b: StoredTensor

    @property
    def rank(self) -> int:
        return self.a.spec.shape[0]

    @property
    def key(self) -> str:
        """Of the weight that is updated."""
        return f"{self.module}.weight"

    def weight(self, inputs_first: bool) -> TensorSpec:
        """What the weight must be."""
        out, ins = self.b.spec.shape[0], self.a.spec.shape[1:]
        shape = (*ins, out) if self.table or inputs_first else (out, *ins)
        return TensorSpec(self.b.spec.dtype, shape)

    @property
    def is_convolution(self) -> bool:
        return len(self.a.spec.shape) > 2


@dataclass(frozen=True, slots=True)
class Adapter:
    """Its updates by the key of their weight, and what it holds whole."""

    config: AdapterConfig
    file: str
    contents: FileContents
    updates: Mapping[str, LowRank]
    whole: Mapping[str, StoredTensor]


def read_adapter(folder: Location, follow_links: bool = False) -> Adapter:
    """Raises `CheckpointError` with all that is wrong with it, or not supported."""
    names = storage.list_files(folder)
    file = next((name for name in FILES.values() if name in names), None)
    missing = [ADAPTER_CONFIG] if ADAPTER_CONFIG not in names else []
    missing += [" or ".join(FILES.values())] if file is None else []
    if file is None or missing:
        message = f"there is no {' and no '.join(missing)} in {folder}"
        raise CheckpointError(Problem("ME511", message, help="--adapter names a folder of PEFT's"))
    config = AdapterConfig.read(read_json(folder / ADAPTER_CONFIG, follow_links))
    contents = describe_file(folder / file, follow_links)
    return _read(config, file, contents)


def _read(config: AdapterConfig, file: str, contents: FileContents) -> Adapter:
    problems: list[Problem] = []
    factors: dict[tuple[str, bool], dict[str, StoredTensor]] = {}
    whole: dict[str, StoredTensor] = {}
    for key, stored in contents.tensors.items():
        name = key.removeprefix(PREFIX)
        factor = _FACTOR.fullmatch(name)
        if not key.startswith(PREFIX):
            problems.append(_bad(file, key, f"it does not begin with {PREFIX}"))
        elif factor and bool(factor[2]) != bool(factor[4]):
            factors.setdefault((factor[1], bool(factor[2])), {})[factor[3]] = stored
        elif why := next((why for word, why in _KINDS.items() if f".{word}" in name), ""):
            problems.append(_bad(file, key, why))
        else:
            module, dot, leaf = name.rpartition(".")
            name = module.removesuffix(WHOLE) + dot + leaf
            if name in whole:
                problems.append(_bad(file, key, f"{name} is there twice"))
            whole[name] = stored
    updates: dict[str, LowRank] = {}
    for (module, table), found in factors.items():
        told = list(_wrong(config, module, found))
        if f"{module}.weight" in updates:
            told.append("it has factors of a table and of a matrix")
        problems += [_bad(file, PREFIX + module, why) for why in told]
        if not told:
            updates[f"{module}.weight"] = LowRank(module, table, found["A"], found["B"])
    taken = sum(stored.spec.nbytes for stored in contents.tensors.values())
    if taken > contents.size:
        message = f"{file} has {contents.size:,} bytes, and its tensors would be {taken:,}"
        problems.append(Problem("ME430", message, help="save it again, each tensor by itself"))
    if not factors and not problems:
        problems.append(Problem("ME430", f"{file} holds no lora_A and lora_B"))
    if problems:
        raise CheckpointError(*problems)
    return Adapter(config, file, contents, updates, whole)


def _bad(file: str, key: str, why: str) -> Problem:
    help = "merge the adapter into the weights with PEFT, and map those"
    return Problem("ME431", f"{file}: {shown(key)}: {why}", help=help)


def _wrong(config: AdapterConfig, module: str, found: Mapping[str, StoredTensor]) -> Iterator[str]:
    """What is wrong with the factors of one module."""
    if found.keys() != {"A", "B"}:
        yield f"it has a lora_{next(iter(found))} alone"
        return
    a, b = found["A"].spec, found["B"].spec
    rank = a.shape[0] if a.shape else 0
    if len(a.shape) < 2 or len(b.shape) != len(a.shape) or 0 in (*a.shape, *b.shape):
        yield f"its factors are {a} and {b}"
    elif b.shape[1:] != (rank, *[1] * (len(a.shape) - 2)):
        yield f"its factors are {a} and {b}, which have not the same rank"
    elif config.rank_of(module) not in (None, rank):
        yield f"its rank is {rank}, and {config.rank_of(module)} in adapter_config.json"
    if not DTYPES[a.dtype].floating or not DTYPES[b.dtype].floating:
        yield f"its factors are {a.dtype} and {b.dtype}, and not floating"
