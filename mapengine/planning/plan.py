"""Steps and specs to a proven plan. Every refusal lives here; nothing is read but headers.

All problems of a mapping on a checkpoint are found before the first byte is written, and raised
together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from mapengine.binding.binding import Binding
from mapengine.displayed import Displayed
from mapengine.errors import PlanError, Problem
from mapengine.language.mapping import Mapping, Rule
from mapengine.ops.cast import Cast
from mapengine.planning.budget import BATCH, SMALLEST, Budget, leaves
from mapengine.planning.coverage import check_coverage, drop_absent
from mapengine.planning.expand import expand
from mapengine.planning.left_out import LeftOut
from mapengine.planning.lints import one_way
from mapengine.planning.lowering import Lowered, lower
from mapengine.planning.pieces import working_bytes
from mapengine.planning.selection import selected
from mapengine.planning.sharding import index_name, is_inside, shard_names, with_objects
from mapengine.specs import CARD, DTYPES, RECEIPT, FileContents, TensorSpec, is_plain_name
from mapengine.views import Lazy, Mapped

DEFAULT_SHARD_SIZE = 5_000_000_000
PLANNED = 2000
"""About how many bytes a tensor takes by being planned, and by being listed in a header."""


@dataclass(frozen=True, slots=True)
class Options:
    """What of the output is written, how it is cut and stored. Sizes are in bytes.

    With `select`, patterns of keys, those tensors are written, and no config, since it is no model.
    """

    format: str | None = None
    max_shard_size: int = DEFAULT_SHARD_SIZE
    select: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the output: what it is, what it is made of, and the rule that says so.

    `rank` are the file indices that stand in no key: one key may be in several files.
    """

    key: str
    content: Lazy
    rule: Rule
    rank: tuple[int | str, ...] = ()

    @property
    def spec(self) -> TensorSpec:
        return self.content.spec


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of the output and the tensors in it, in order."""

    name: str
    tensors: tuple[PlannedTensor, ...]
    objects: AnyMapping[str, Any] = field(default_factory=dict)
    """Plain values beside the tensors: the config, where it lies in tensor files."""

    @property
    def specs(self) -> dict[str, TensorSpec]:
        return {tensor.key: tensor.spec for tensor in self.tensors}

    @property
    def nbytes(self) -> int:
        return sum(tensor.spec.nbytes for tensor in self.tensors)


@dataclass(frozen=True)
class Plan(Displayed):
    """What a run will do, proven: every source tensor used, every target tensor made once."""

    subject: ClassVar[str] = "a checkpoint"
    """What is read and written."""

    binding: Binding
    format: str
    shards: tuple[Shard, ...]
    options: Options
    stored: AnyMapping[str, FileContents]
    """The files that are read, by name."""
    left_out: tuple[LeftOut, ...] = ()
    """What is read and not written."""
    after: Plan | None = None
    """The plan whose output is read, though it is never written."""

    @property
    def source_files(self) -> dict[str, int]:
        """Their sizes in bytes."""
        return {name: contents.size for name, contents in self.stored.items()}

    @property
    def mapping(self) -> Mapping:
        return self.binding.mapping

    @property
    def configs(self) -> AnyMapping[str, AnyMapping[str, Any]]:
        """Those with a file of their own."""
        if self.options.select:
            return {}
        return {k: v for k, v in self.binding.configs.items() if not is_inside(k)}

    @property
    def tensors(self) -> Iterator[PlannedTensor]:
        return (tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def notes(self) -> list[tuple[str, str]]:
        """What is worth telling: of a file that is read, or of the output, and what."""
        told = [(name, note) for name, file in self.stored.items() for note in file.notes]
        dtypes = Counter(t.spec.dtype for t in self.tensors if DTYPES[t.spec.dtype].floating)
        if len(dtypes) > 1:
            (most, _), *others = dtypes.most_common()
            rare = [f"{count} {dtype}" for dtype, count in others]
            first = next(t.key for t in self.tensors if t.spec.dtype == others[0][0])
            note = f"not every tensor is {most}: {', '.join(rare)}, the first of them {first}"
            told.append(("the output", note))
        return told

    @property
    def index(self) -> str | None:
        """The name of the index file, where there are several shards."""
        return index_name([shard.name for shard in self.shards])

    @property
    def companions(self) -> list[str]:
        """Files carried over as they are: those the mapping names that lie beside the source."""
        there = self.binding.names.inventory.names if not self.options.select else ()
        return [name for name in self.mapping.files if name in there and name not in self.configs]

    @property
    def model(self) -> str | None:
        """The model class of transformers that opens what is written, if one does."""
        return None if self.options.select else self.binding.write.model

    @property
    def card(self) -> str | None:
        """The name of the model card, where a model is written and none is carried over."""
        return CARD if self.model and CARD not in self.companions else None

    @property
    def bytes_written(self) -> int:
        return sum(shard.nbytes for shard in self.shards)

    @property
    def bytes_read(self) -> int:
        read = (leaf for one in self._contents for leaf in leaves(one))
        return sum(leaf.elements_read * DTYPES[leaf.dtype].size for leaf in read)

    @property
    def checks(self) -> list[LeftOut]:
        """What is left out if it is what it must be: it is read first."""
        return [one for one in self.left_out if not one.unchecked]

    @property
    def _contents(self) -> Iterator[Lazy]:
        """All that is made: what is written, and what is looked at."""
        yield from (check.differs for check in self.checks)
        yield from (tensor.content for tensor in self.tensors)

    def budget(self, workers: int, memory: int, share: int = 1) -> tuple[Budget, int]:
        """What each worker may allocate where `memory` bytes are all there is, and how many work.

        Of several equal shares of it they have one. Raises `PlanError` where that is too little.
        """
        left = memory // share - self._own_bytes
        if left < SMALLEST:
            wanted = math.ceil(share * (self._own_bytes + SMALLEST) / 10**6)
            message = f"{memory:,} bytes of memory are too little: this plan takes {wanted} MB"
            raise PlanError(Problem("ME316", message, help=f"--memory {wanted}MB"))
        return Budget.shared(left, workers)

    def peak_memory(self, workers: int, memory: int) -> int:
        """What a run allocates at the most, in bytes, where `memory` is what it may."""
        budget, workers = self.budget(workers, memory)
        needed = (working_bytes(content, budget) for content in self._contents)
        looked_at = (check.differs.spec.nbytes for check in self.checks)
        sizes = (*(shard.nbytes for shard in self.shards), *looked_at)
        gathered = min(BATCH, max(sizes, default=0))
        return self._own_bytes + workers * (gathered + max(needed, default=0))

    @property
    def _own_bytes(self) -> int:
        return PLANNED * sum(len(shard.tensors) for shard in self.shards)

    @cached_property
    def fingerprint(self) -> str:
        """One hash for all that decides the output: mapping, source headers, options."""
        parts = {
            "after": self.after and self.after.fingerprint,
            "mapping": self.mapping.sha256,
            "layout": sorted(self.binding.layout),
            "files": self.source_files,
            "format": self.format,
            "shards": [[s.name, [(t.key, str(t.spec)) for t in s.tensors]] for s in self.shards],
            "configs": self.binding.configs,
            "select": self.options.select,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_plan(binding: Binding, options: Options | None = None, after: Plan | None = None) -> Plan:
    """The plan of a bound mapping. Raises `PlanError` with everything that stands in its way.

    Where what is read is itself the plan `after`, that one's files are read.
    """
    options = options or Options()
    written = binding.names.settings.dtype or binding.write.dtype
    lowered = _proven(binding)
    tensors = [
        PlannedTensor(key, as_written(content, written, rule), rule, rank)
        for (key, rank), content, rule in lowered.made
    ]
    tensors = selected(tensors, options.select, binding.write.root_in(binding.layout))
    format, shards = shard_names(tensors, binding, options.format, options.max_shard_size)
    files = {f.name: binding.names.inventory.files[f.name] for f in binding.files}
    stored = {name: file for name, file in files.items() if isinstance(file, FileContents)}
    inside = {n: v for n, v in binding.configs.items() if is_inside(n) and not options.select}
    cut = tuple(Shard(*shard) for shard in with_objects(shards, inside, binding.write))
    left_out = (*(after.left_out if after else ()), *lowered.left_out)
    plan = Plan(binding, format, cut, options, after.stored if after else stored, left_out, after)
    if clashes := _clashes(plan):
        raise PlanError(*clashes)
    return plan


def _proven(binding: Binding) -> Lowered:
    """Every target tensor, after proof that nothing is missing, left over or made twice."""
    rules = [rule for rule in binding.mapping.rules if rule.holds_in(binding.layout)]
    if binding.read.name == "target" and (stuck := list(one_way(rules))):
        raise PlanError(*stuck)
    expansion = expand(binding)
    problems = [*binding.problems, *expansion.problems]
    steps = drop_absent(expansion.steps, binding)
    if not binding.names.missing and not expansion.problems:
        problems += check_coverage(steps, binding)
    lowered = lower(steps, binding)
    problems += lowered.problems
    if problems:
        raise PlanError(*dict.fromkeys(problems))
    promised = sum(len(step.targets.members) for step in steps)
    made = len(lowered.made)
    if made != promised:  # a step that stopped without a word: never write less than all
        message = f"{promised} tensors are to be made, and {made} were"
        raise PlanError(Problem("ME315", message, binding.write.where))
    return lowered


def _clashes(plan: Plan) -> list[Problem]:
    """Names that two files of the output would have, and those that are none."""
    beside = [name for name in (RECEIPT, plan.card, plan.index) if name]
    names = Counter([*(s.name for s in plan.shards), *plan.companions, *plan.configs, *beside])
    where = plan.binding.write.where
    clashes = [
        Problem("ME602", f"two files of the output are called {name}", where)
        for name, count in sorted(names.items())
        if count > 1
    ]
    odd = [name for name in sorted(names) if not is_plain_name(name)]
    return clashes + [
        Problem("ME603", f"{name!r} is not the name of a file in the folder", where) for name in odd
    ]


def as_written(content: Lazy, dtype: str | None, rule: Rule) -> Lazy:
    """The tensor in the dtype its side is written in, save where a rule casts by itself."""
    if dtype is None or content.dtype == dtype or not DTYPES[content.dtype].floating:
        return content
    if rule.constant is not None or any(call.name == "cast" for call in rule.ops):
        return content
    return Mapped.of(Cast(dtype), content)
