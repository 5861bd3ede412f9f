"""A mapping bound to one model's sizes, with none of its tensors: what an adapter is held against.

An adapter is of the whole model, whatever files that was cut into. So there is one of each file
here, and whatever counts them is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from mapengine.binding.binding import Binding, ranks_of
from mapengine.binding.inventory import Address, Inventory
from mapengine.binding.names import ModelNames, Settings, UnboundName
from mapengine.errors import PlanError, Problem
from mapengine.language.expressions import Expression, ExpressionError
from mapengine.language.mapping import Layout, Side
from mapengine.language.mapping import Mapping as MappingFile
from mapengine.planning.expand import Family, Step, expand
from mapengine.planning.lowering import Lowered, lower, shape_of
from mapengine.specs import TensorSpec
from mapengine.views import Content, Filled

MOST_KEYS = 1_000_000
"""How many tensors the rules may name: nothing but a config says how many there are."""


@dataclass(frozen=True)
class Model:
    """A binding of sizes alone, and every step of its rules."""

    binding: Binding
    steps: tuple[Step, ...]

    @staticmethod
    def of(
        mapping: MappingFile, inventory: Inventory, settings: Settings, layout: Layout, read: str
    ) -> Model:
        """Raises `PlanError` where a size that the rules need is not said."""
        ones = dict.fromkeys(counts_of_files(mapping, layout), 1)
        settings = replace(settings, values={**settings.values, **ones})
        names = ModelNames(mapping, inventory, layout, settings, read)
        binding = _bare(names)
        expansion = expand(binding, keys=MOST_KEYS)
        if names.missing:  # then what else the rules ask for is told with it
            _ask_all(names)
        model = Model(binding, expansion.steps)
        model.raise_for(expansion.problems)
        return model

    @cached_property
    def users(self) -> Mapping[str, list[Step]]:
        """The steps that take a tensor of the side that is read, by its key."""
        users: dict[str, list[Step]] = {}
        for step in self.steps:
            for key, _ in step.sources.members:
                users.setdefault(key, []).append(step)
        return users

    @cached_property
    def written(self) -> frozenset[str]:
        """Every key of the side that is written."""
        return frozenset(key for step in self.steps for key, _ in step.targets.members)

    def steps_of(self, keys: Iterable[str]) -> list[Step]:
        """The steps that take any tensor of these keys."""
        found = {id(step): step for key in keys for step in self.users[key]}
        return list(found.values())

    def made(self, steps: Sequence[Step], tensors: Mapping[Address, Content]) -> Lowered:
        """What the rules make of tensors. Raises `PlanError` for what stands in their way."""
        lowered = lower(steps, replace(self.binding, tensors=dict(tensors)))
        self.raise_for(lowered.problems)
        return lowered

    def specs(self, step: Step, dtype: str) -> dict[Address, TensorSpec]:
        """What the tensors that a step takes are, by what its rule says of the source's.

        Raises `PlanError` where it says nothing.
        """
        if self.binding.read.name == "source":
            return self._stated(step, step.sources, dtype)
        there = self._stated(step, step.targets, dtype)
        onwards = replace(step, sources=step.targets, targets=step.sources)
        binding = replace(
            self.binding, read=self.binding.write, write=self.binding.read, tensors=_blank(there)
        )
        lowered = lower([onwards], binding)
        self.raise_for(lowered.problems)
        return {address: content.spec for address, content, _ in lowered.made}

    def dtypes(self, step: Step) -> dict[Address, str]:
        """What the rule of a step says of the dtypes of what is read, where it does."""
        rule, members = step.rule, step.sources.members
        if not rule.dtypes or self.binding.read.name != "source":
            return {}
        each = len(members) // len(rule.sources)
        return {address: rule.dtypes[i // each] for i, address in enumerate(members)}

    def _stated(self, step: Step, source: Family[Address], dtype: str) -> dict[Address, TensorSpec]:
        rule = step.rule
        if not rule.shapes:
            message = "the rule states no shape, and the adapter does not tell that of all tensors"
            raise PlanError(Problem("ME342", message, rule.where, rule.path, "give it a `shape`"))
        each = len(source.members) // len(rule.sources)
        try:
            shapes = [shape_of(one, self.binding.names, step) for one in rule.shapes]
            dtypes = rule.dtypes or (dtype,) * len(shapes)
            return {
                address: TensorSpec(dtypes[i // each], shapes[i // each])
                for i, address in enumerate(source.members)
            }
        except ExpressionError as error:
            where, path = error.where or rule.where, f"{rule.path}.shape"
            raise PlanError(Problem("ME303", str(error), where, path, error.help)) from None
        except UnboundName:
            self.raise_for(())
            raise AssertionError from None

    def raise_for(self, problems: Sequence[Problem]) -> None:
        """Raises `PlanError` for these, and for names that were asked for and have no value."""
        found = [*problems, *self.binding.names.problems, *_missing(self.binding.names)]
        if found:
            raise PlanError(*dict.fromkeys(found))


def _ask_all(names: ModelNames) -> None:
    rules = names.mapping.rules
    asked = frozenset[str]().union(*(call.names for rule in rules for call in rule.ops))
    for rule in rules:
        asked = asked.union(*(size.names for shape in rule.shapes for size in shape))
    for name in names.mapping.fields:
        if name in asked:
            with suppress(UnboundName, ExpressionError):
                names.value(name)


def _blank(specs: Mapping[Address, TensorSpec]) -> dict[Address, Content]:
    return {address: Filled(0, spec.shape, spec.dtype) for address, spec in specs.items()}


def _bare(names: ModelNames) -> Binding:
    ranges = [_one_each(names.mapping, side, names.layout) for side in (names.side, names.other)]
    return Binding(
        mapping=names.mapping,
        read=names.side,
        write=names.other,
        layout=names.layout,
        names=names,
        files=(),
        ranks=tuple(ranges[0]),
        rank_ranges=ranges[0],
        tensors={},
        outputs=(),
        written_ranks=tuple(ranges[1]),
        written_rank_ranges=ranges[1],
        configs={},
        ignored=frozenset(),
        problems=(),
    )


def _one_each(mapping: MappingFile, side: Side, layout: Layout) -> dict[str, tuple[int | str, ...]]:
    return dict.fromkeys(ranks_of(mapping, side, layout), (0,))


def counts_of_files(mapping: MappingFile, layout: Layout) -> Iterator[str]:
    """The fields that say how many files each key of a side is spread over."""
    for side in mapping.sides.values():
        for rank in ranks_of(mapping, side, layout):
            size = mapping.dims.get(rank)
            if isinstance(size, Expression) and size.text in mapping.fields:
                yield size.text
            yield from _counting(mapping, side, layout, rank)


def _counting(mapping: MappingFile, side: Side, layout: Layout, rank: str) -> Iterator[str]:
    for file in side.files(layout):
        question = (("count", (file.pattern.text,)),)
        for field in mapping.fields.values() if rank in file.pattern.names else ():
            if field.compute is not None and field.compute.calls == question:
                yield field.name


def _missing(names: ModelNames) -> Iterator[Problem]:
    """One problem for all names that were asked for in vain."""
    if not names.missing:
        return
    main = names.side.config_file(names.layout)
    listed = []
    for name in names.missing:
        paths = names.mapping.fields[name].paths(names.side.name, names.layout)
        listed.append(f"{name} ({paths[0]})" if paths else name)
    message = f"nothing says {', '.join(listed)}"
    source = f"--source DIR with the {main.file} of the model it adapts, or " if main else ""
    where = names.mapping.fields[names.missing[0]].where
    help = f"{source}--set {names.missing[0]}=VALUE"
    yield Problem("ME401", message, where, f"config.{names.missing[0]}", help)
