"""The verbs of the package: what the commands do, as functions from values to values."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mapengine.asked import check_fields, check_job, check_named, check_run
from mapengine.binding.names import Settings
from mapengine.errors import (
    MapengineError,
    MappingError,
    NotFoundError,
    OutputError,
    PlanError,
    Problem,
    Problems,
    suggest,
)
from mapengine.language.document import load_document
from mapengine.language.mapping import Layout, Mapping
from mapengine.language.reading import read_mapping
from mapengine.locations import URL, Location, location
from mapengine.planning.agreement import check_layouts_agree
from mapengine.planning.budget import DEFAULT_MEMORY
from mapengine.planning.checks import check_mapping
from mapengine.planning.plan import DEFAULT_SHARD_SIZE, Options, Plan, make_plan
from mapengine.shipped import shipped_mappings

if TYPE_CHECKING:
    from mapengine.binding.binding import Binding
    from mapengine.checkpoints.execute import Make, Result
    from mapengine.checkpoints.shards import Progress
    from mapengine.explanation import Explained
    from mapengine.planning.survey import Survey
    from mapengine.verification.proof import Claim

PathLike = str | Path | URL


def load(mapping: PathLike | Mapping) -> Mapping:
    """A mapping by path, or by the name of one that ships, checked. Raises `MappingError`."""
    check_named(mapping)
    if isinstance(mapping, Mapping):
        return mapping
    path = Path(str(mapping))
    shipped = shipped_mappings()
    if not path.suffix and str(mapping) in shipped and not path.is_file():
        path = shipped[str(mapping)]
    elif not path.suffix and not path.exists():
        hint = suggest(str(mapping), shipped)
        known = f"these ship: {', '.join(shipped)}"
        message = f"there is no mapping {str(mapping)!r}"
        raise NotFoundError(Problem("ME107", message, help=hint or known))
    loaded = read_mapping(load_document(path))
    problems = check_mapping(loaded)
    if problems:
        raise MappingError(*problems)
    return loaded


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion, as a user asks for it. Sizes are in bytes.

    `values` are config names set by hand, `dtype` casts every floating tensor, `layout` names the
    layout that is read, where it cannot be told from the files, or the one that is written. With
    `reverse` the folder `source` holds the mapping's target, and its source is written. With `then`
    what comes of it goes through that mapping too, forwards or backwards, and is never written.
    Links that lead out of the source are refused, save those of the Hub's cache, unless
    `follow_links`.

    With `adapter`, a folder of PEFT's, that is converted, and `source` is the model it was made
    for: nothing but its config is read, and it may be None where `values` say the sizes.
    `base_model` is what the new adapter's config names as its model.

    With `select`, patterns of keys with `*`, those tensors alone are written, and no config.
    """

    mapping: PathLike | Mapping
    source: PathLike | None
    values: AnyMapping[str, Any] | None = None
    preset: str | None = None
    dtype: str | None = None
    layout: str | None = None
    format: str | None = None
    max_shard_size: int = DEFAULT_SHARD_SIZE
    reverse: bool = False
    then: PathLike | Mapping | None = None
    then_reverse: bool = False
    adapter: PathLike | None = None
    base_model: str | None = None
    follow_links: bool = False
    select: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def folder(self) -> Location:
        """Where the tensors are that are converted."""
        if (folder := self.adapter or self.source) is None:
            help = "Job('MAPPING', 'CHECKPOINT')"
            raise OutputError(Problem("ME501", "there is no source to read", help=help))
        return location(folder)

    @property
    def read(self) -> str:
        """The side that is read."""
        return "target" if self.reverse else "source"

    @property
    def settings(self) -> Settings:
        return Settings(dict(self.values or {}), self.preset, self.dtype)

    def parted(self, first: Mapping, second: Mapping) -> tuple[Job, Job]:
        """A job for each mapping: what is set goes to the one that knows it.

        A name that both know goes to both, and one that neither knows to the first, which will say
        so. A layout that both know is the second's, for the first one's shows in the files.
        """
        values, chosen = dict(self.values or {}), self.chosen or frozenset()
        last = frozenset[str]().union(*(side.layout_names for side in second.sides.values()))
        ours = {n: v for n, v in values.items() if n in first.fields or n not in second.fields}
        theirs = {n: v for n, v in values.items() if n in second.fields}
        known = self.preset in second.presets
        mine = None if known and self.preset not in first.presets else self.preset
        return (
            replace(self, mapping=first, values=ours, preset=mine, dtype=None, format=None,
                    layout="+".join(chosen - last) or None, then=None, select=()),
            replace(self, mapping=second, values=theirs, preset=self.preset if known else None,
                    layout="+".join(chosen & last) or None, then=None,
                    reverse=self.then_reverse),
        )  # fmt: skip

    @property
    def options(self) -> Options:
        return Options(self.format, self.max_shard_size, tuple(self.select))

    @property
    def chosen(self) -> Layout | None:
        return frozenset(self.layout.replace(",", "+").split("+")) if self.layout else None


def plan(job: Job) -> Plan:
    """What a conversion will do, proven on the headers. Raises `MapengineError`."""
    check_job(job, Job, "plan")
    if job.adapter is not None:
        return _adapter_plan(job, job.adapter)
    if job.then is not None:
        from mapengine.planning.composition import followed

        one, two = job.parted(load(job.mapping), second := load(job.then))
        return followed(plan(one), second, two.settings, two.chosen, two.read, job.options)
    return make_plan(_bound(job), job.options)


def _adapter_plan(job: Job, adapter: PathLike) -> Plan:
    from mapengine.adapters import plan_adapter

    if job.then is not None:
        help = "map it by one, and what comes of that by the other"
        raise PlanError(Problem("ME345", "an adapter goes by one mapping at a time", help=help))
    if job.select:
        raise PlanError(Problem("ME345", "an adapter is written whole, without `select`"))
    model = None if job.source is None else location(job.source)
    return plan_adapter(
        load(job.mapping), location(adapter), model, job.settings, job.chosen, job.read,
        job.options, job.base_model, job.follow_links,
    )  # fmt: skip


def _bound(job: Job) -> Binding:
    """A job's mapping, bound to what is in its source."""
    from mapengine.checkpoints.folder import take_inventory
    from mapengine.planning.layouts import choose_layout

    mapping = load(job.mapping)
    side = mapping.sides[job.read]
    inventory = take_inventory(job.folder, mapping, side, follow_links=job.follow_links)
    return choose_layout(mapping, inventory, job.settings, job.chosen, job.read)


def survey(job: Job) -> list[Survey]:
    """What a job's mappings mean for its source, one after the other, as far as they go.

    The last one has the plan, or else all that stands in its way. Raises `MapengineError` where it
    cannot even be told which layout is there.
    """
    from mapengine.planning.composition import bound_after
    from mapengine.planning.survey import survey as look

    if job.then is None:
        return [look(_bound(job), job.options)]
    one, two = job.parted(load(job.mapping), second := load(job.then))
    (first,) = survey(one)
    if first.plan is None:
        return [first]
    binding = bound_after(first.plan, second, two.settings, two.chosen, two.read)
    return [first, look(binding, job.options, first.plan)]


def survey_example(job: Job) -> list[Survey]:
    """The same of the mapping's own example; backwards, of what is made of it."""
    from mapengine.planning.survey import survey as look

    mapping = load(job.mapping)
    layout = example_layout(mapping, job.chosen)
    if job.reverse:
        from mapengine.verification.proof import bound_back

        there = check_example(mapping, layout)
        return [look(bound_back(there), job.options, there)]
    return [look(_bound_example(mapping, layout, job.settings), job.options)]


def run(
    job: Job,
    output: PathLike,
    *,
    workers: int | None = None,
    memory: int = DEFAULT_MEMORY,
    sync: bool = True,
    overwrite: bool = False,
    restart: bool = False,
    hash: bool = False,
    scratch: str | Path | None = None,
    progress: Progress | None = None,
    planned: Plan | None = None,
    executor: str = "local",
    address: str | None = None,
) -> Result:
    """Converts a checkpoint, going on where an earlier run was stopped unless it is to `restart`.

    The `executor` is `local` for threads of this process, or `ray` for the Ray cluster at `address`
    (that of `RAY_ADDRESS`, or one of this machine). On that one `workers` are the most tasks at
    once, and `memory` is for each.

    Raises `MapengineError`, and then leaves `output` as it was. Where that is a URL, files are made
    in the folder `scratch` before they are sent.
    """
    check_job(job, Job, "run")
    check_run(output=output, workers=workers, memory=memory)
    to = location(output)
    make = _maker(job, to, executor, address)
    if isinstance(to, URL):
        from mapengine.checkpoints.sending import send_plan

        return send_plan(
            planned or plan(job), job.folder, to, workers=workers, memory=memory,
            overwrite=overwrite, restart=restart, hash=hash, follow_links=job.follow_links,
            scratch=None if scratch is None else Path(scratch), progress=progress,
        )  # fmt: skip
    from mapengine.checkpoints.execute import run_plan

    return run_plan(
        planned or plan(job),
        job.folder,
        to,
        workers=workers,
        memory=memory,
        sync=sync,
        overwrite=overwrite,
        restart=restart,
        hash=hash,
        follow_links=job.follow_links,
        progress=progress,
        make=make,
    )


def _maker(job: Job, output: Location, executor: str, address: str | None) -> Make | None:
    """Who makes the shards, if not threads of this process."""
    if executor == "local":
        return None
    if executor != "ray":
        hint = suggest(executor, ("local", "ray")) or "there are local and ray"
        raise OutputError(Problem("ME624", f"there is no executor {executor!r}", help=hint))
    if isinstance(output, URL):
        message = f"{output} is no folder: a cluster writes to one that all its nodes share"
        raise OutputError(Problem("ME624", message, help="take a folder, or --executor local"))
    from mapengine.spread import OnRay

    return OnRay(job, address)


def validate(
    mapping: PathLike | Mapping, source: PathLike | None = None, follow_links: bool = False
) -> Problems:
    """Every problem of a mapping file, alone or, with a `source`, on a checkpoint's headers."""
    try:
        loaded = load(mapping)
        if loaded.example is not None:
            for target in loaded.target.layouts():
                layouts = [one | target for one in loaded.source.layouts()]
                check_layouts_agree({one: check_example(loaded, one) for one in layouts})
        if source is not None:
            plan(Job(loaded, source, follow_links=follow_links))
    except MapengineError as error:
        return Problems(error.problems)
    return Problems()


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven of a mapping: a claim for each rule, in how many layouts, and notes."""

    claims: list[Claim]
    layouts: int
    notes: Problems


def prove(mapping: PathLike | Mapping) -> Proof:
    """Takes the mapping's example forward and back in every layout, element by element.

    Raises `MapengineError` with what does not come back to where it was.
    """
    from mapengine.planning.lints import untried
    from mapengine.verification import proof

    loaded = load(mapping)
    layouts = list(loaded.layouts())
    claims = proof.merged([proof.prove(check_example(loaded, layout)) for layout in layouts])
    tried = {claim.rule.path for claim in claims}
    return Proof(claims, len(layouts), Problems([*notes(loaded), *untried(loaded, tried)]))


def notes(mapping: PathLike | Mapping) -> Problems:
    """What has no way back, what no shape can see, what is of no use: no mistakes by themselves."""
    from mapengine.planning.lints import irreversible, unseen, useless

    loaded = load(mapping)
    return Problems([*irreversible(loaded), *unseen(loaded), *useless(loaded)])


def explain(job: Job, name: str) -> list[Explained]:
    """What becomes of a name: a tensor's key, a config field, or a word of the language.

    Without a source it is looked up in the mapping's example, in the first layout that has it.
    Raises `MapengineError`, with the nearest names where there is none like it.
    """
    from mapengine.checkpoints.folder import take_inventory
    from mapengine.explanation import ask

    mapping, inventory = load(job.mapping), None
    if job.source is not None:
        side = mapping.sides[job.read]
        inventory = take_inventory(job.folder, mapping, side, follow_links=job.follow_links)
    return ask(mapping, inventory, job.settings, job.chosen, job.read, name)


def check_example(
    mapping: Mapping,
    layout: Layout,
    settings: Settings | None = None,
    options: Options | None = None,
) -> Plan:
    """Plans the mapping's example in one layout: shapes, fans, names, doubles, all of it.

    Raises `MapengineError`, also where there is no example.
    """
    return make_plan(_bound_example(mapping, layout, settings or Settings()), options)


def _bound_example(mapping: Mapping, layout: Layout, given: Settings) -> Binding:
    from mapengine.binding.binding import bind, settings_problems
    from mapengine.planning.example import check_formulas, example_inventory, example_settings

    if problems := list(settings_problems(mapping, given)):
        raise PlanError(*problems)
    inventory = example_inventory(mapping, layout)
    example = example_settings(mapping, layout).values
    values, own = {**example, **given.values}, example.keys() - given.values.keys()
    binding = bind(mapping, inventory, layout, replace(given, values=values, example=own))
    check_formulas(binding.names)
    return binding


def example_layout(mapping: Mapping, wanted: Layout | None) -> Layout:
    """The first layout that has all the names wanted. Raises `PlanError`."""
    from mapengine.planning.layouts import layouts_with

    return layouts_with(mapping, wanted)[0]


def make_example(mapping: Mapping, layout: Layout, folder: str | Path) -> Settings:
    """Writes the mapping's example as a checkpoint; what must be set to run it is returned.

    A folder that holds just that already is left as it is. Raises `OutputError` for any other.
    """
    import filecmp

    from mapengine.checkpoints.example_files import write_example
    from mapengine.checkpoints.storage import check_output
    from mapengine.checkpoints.workspace import workspace
    from mapengine.planning.example import example_inventory, example_settings

    folder = Path(folder)
    example_inventory(mapping, layout)  # raises where there is none to make
    if folder.is_dir() and any(folder.iterdir()):
        with tempfile.TemporaryDirectory() as fresh:
            write_example(mapping, layout, Path(fresh))
            names = [path.name for path in Path(fresh).iterdir()]
            same, _, _ = filecmp.cmpfiles(fresh, folder, names, shallow=False)
        if len(same) == len(names):
            return example_settings(mapping, layout)
        message = f"{folder} does not hold the example any more"
        raise OutputError(Problem("ME611", message, help="remove it, and it is made again"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_output(folder, None, overwrite=False)
    with workspace(folder, restart=True) as place:
        settings = write_example(mapping, layout, place.new)
        place.publish()
        return settings
