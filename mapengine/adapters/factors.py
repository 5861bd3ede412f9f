"""New factors out of old ones: the blocks of a target's update as one product B · A.

Blocks that share a factor share its ranks. What is left is written as B = [B1 B2 ...] and
A = [A1; A2; ...], each zero where it has no block: the sum of the products, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from mapengine.adapters.blocks import Block, Ids
from mapengine.adapters.config import AdapterConfig, as_number
from mapengine.adapters.reading import LowRank
from mapengine.errors import OpError
from mapengine.ops.arithmetic import Mul
from mapengine.ops.cast import Cast, widens
from mapengine.specs import StoredTensor
from mapengine.views import Filled, Joined, Lazy, Mapped, View

Identity = Callable[[StoredTensor], Hashable]
"""Equal for factors that are equal bit for bit."""
Side = Literal["outputs", "inputs"]


@dataclass(frozen=True, slots=True)
class Factors:
    """The update of one matrix: `a` has a row for every rank, `b` a column."""

    a: Lazy
    b: Lazy
    rank: int
    alpha: int | float
    table: bool
    inputs_first: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Rows of a factor that has a column for every rank, and where along the target they go."""

    factor: StoredTensor
    turned: bool
    """Whether it has a row for every rank instead: an A."""
    positions: Ids
    origins: Ids

    def key(self, identity: Identity) -> Hashable:
        return identity(self.factor), self.positions.tobytes(), self.origins.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """`rank` ranks of the target's update, `gain / rank` times a product."""

    gain: Fraction
    rank: int
    outputs: tuple[_Cut, ...]
    inputs: tuple[_Cut, ...]

    def key(self, side: Side, identity: Identity, power: int) -> Hashable:
        cuts = tuple(cut.key(identity) for cut in getattr(self, side))
        return cuts, self.scale(power), self.rank

    def scale(self, power: int) -> tuple[Fraction, bool]:
        """What two terms must share to be scaled alike."""
        return self.gain**power / self.rank, self.gain > 0


def factors_of(
    target: Lazy,
    blocks: Sequence[Block],
    updates: Mapping[str, LowRank],
    config: AdapterConfig,
    identity: Identity,
) -> Factors:
    """The factors of a target's update. Raises `OpError` where PEFT has no form for it."""
    table, inputs_first = _form(target, blocks, updates, config)
    terms = [_term(block, updates[block.source], config, inputs_first) for block in blocks]
    power = 2 if config.rslora else 1
    if len({block.source for block in blocks}) == 1:
        identity = id
    terms = _merged(_merged(terms, "inputs", identity, power), "outputs", identity, power)
    rows, cols = target.shape[0], math.prod(target.shape[1:])
    outs, ins = (cols, rows) if inputs_first else (rows, cols)
    rank = sum(term.rank for term in terms)
    a = Joined.of([_laid_out(term.inputs, ins, term.rank) for term in terms], 1)
    b = Joined.of(_scaled(terms, outs, config), 1)
    first = terms[0]
    more = math.sqrt(rank / first.rank) if config.rslora else Fraction(rank, first.rank)
    alpha = as_number(first.gain if rank == first.rank else first.gain * Fraction(more))
    inner = target.shape[1:] if not inputs_first else (rows,)
    a = a.permute((1, 0)).reshape((rank, *inner))
    b = b.reshape((outs, rank, *[1] * (len(inner) - 1)))
    return Factors(a, b, rank, alpha, table, inputs_first)


def _form(
    target: Lazy, blocks: Sequence[Block], updates: Mapping[str, LowRank], config: AdapterConfig
) -> tuple[bool, bool]:
    """Whether the target is a table, and whether its rows are inputs."""
    sources = [updates[block.source] for block in blocks]
    if len({one.table for one in sources}) > 1:
        raise OpError("it is made of tables and of matrices that are adapted", "ME341")
    if target.ndim > 2 and not all(one.is_convolution for one in sources):
        message = (
            f"it becomes part of {list(target.shape)}, and only convolutions have such weights"
        )
        raise OpError(message, "ME341")
    first = {
        block.turned != (one.table or (config.inputs_first and not one.is_convolution))
        for block, one in zip(blocks, sources, strict=True)
    }
    if len(first) > 1 or (sources[0].table and first != {True}):
        raise OpError("it is made of matrices stored with inputs first and with outputs first",
                      "ME341")  # fmt: skip
    if target.ndim > 2 and first == {True}:
        raise OpError("the inputs of a convolution cannot be its first axis", "ME341")
    for name in ("a", "b"):
        dtypes = {getattr(one, name).spec.dtype for one in sources}
        if len(dtypes) > 1:
            raise OpError(f"its lora_{name.upper()} are {' and '.join(sorted(dtypes))}", "ME341")
    return sources[0].table, first == {True}


def _term(block: Block, update: LowRank, config: AdapterConfig, inputs_first: bool) -> _Term:
    rows, cols = (block.rows, block.from_rows), (block.cols, block.from_cols)
    outputs, inputs = (cols, rows) if inputs_first else (rows, cols)
    return _Term(
        config.alpha_of(update.module) * block.gain,
        update.rank,
        (_Cut(update.b, False, *outputs),),
        (_Cut(update.a, True, *inputs),),
    )


def _merged(terms: Sequence[_Term], shared: Side, identity: Identity, power: int) -> list[_Term]:
    """The terms whose factors on one side are the same as one: their other sides lie apart."""
    found: dict[Hashable, _Term] = {}
    for term in terms:
        key = term.key(shared, identity, power) if len(terms) > 1 else None
        have = found.get(key)
        if have is not None and shared == "inputs":
            term = replace(have, outputs=(*have.outputs, *term.outputs))
        elif have is not None:
            term = replace(have, inputs=(*have.inputs, *term.inputs))
        found[key] = term
    return list(found.values())


def _scaled(terms: Sequence[_Term], size: int, config: AdapterConfig) -> list[Lazy]:
    """Each term's B, scaled for all of them to share the first one's alpha and rank."""
    first, power = terms[0], 2 if config.rslora else 1
    ratios = [_ratio(term, first, power) for term in terms]
    exact = all(math.frexp(abs(ratio))[0] == 0.5 for ratio in ratios)
    found: list[Lazy] = []
    for term, ratio in zip(terms, ratios, strict=True):
        b = _laid_out(term.outputs, size, term.rank)
        if not exact and widens(b.dtype, "float32"):
            b = Mapped.of(Cast("float32"), b)
        found.append(b if ratio == 1 else Mapped.of(Mul(ratio), b))
    return found


def _ratio(term: _Term, first: _Term, power: int) -> float:
    if term.scale(power) == first.scale(power):
        return 1.0
    ranks = first.rank / term.rank
    return float(term.gain / first.gain) * (math.sqrt(ranks) if power == 2 else ranks)


def _laid_out(cuts: Sequence[_Cut], size: int, rank: int) -> Lazy:
    """A factor with a row for every position of the target, zero where no cut has one."""
    dtype = cuts[0].factor.spec.dtype
    members: list[Lazy] = []
    at = 0
    for start, part in sorted(_runs(cuts), key=lambda run: run[0]):
        if start > at:
            members.append(Filled(0, (start - at, rank), dtype))
        members.append(part)
        at = start + part.shape[0]
    if at < size:
        members.append(Filled(0, (size - at, rank), dtype))
    return Joined.of(members, 0)


def _runs(cuts: Sequence[_Cut]) -> Iterator[tuple[int, Lazy]]:
    """The rows of each cut in evenly spaced runs: where each goes, and its rows."""
    for cut in cuts:
        rows = _rows(cut)
        order = np.argsort(cut.positions, kind="stable")
        positions, origins = cut.positions[order], cut.origins[order]
        steps = np.where(np.diff(positions) == 1, np.diff(origins), 0)
        changes = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
        start = 0
        while start < len(origins):
            end, step = start + 1, 1
            if start < len(steps) and steps[start] > 0:
                step = int(steps[start])
                end = int(changes[np.searchsorted(changes, start, side="right")]) + 1
            yield int(positions[start]), rows.every(0, int(origins[start]), step, end - start)
            start = end


def _rows(cut: _Cut) -> View:
    """A factor as a matrix with a row for every input or output, whatever its own shape."""
    stored = View.of(cut.factor)
    shape = cut.factor.spec.shape
    if not cut.turned:
        return stored.reshape((shape[0], math.prod(shape[1:])))
    return stored.reshape((shape[0], math.prod(shape[1:]))).permute((1, 0))
