"""Plants mistakes in mappings and counts what catches them: `hunt.py [--every N] [NAME ...]`.

In turn: `validate`, the `defaults` that transformers has too, the plan of checkpoints that the
right mapping fits, `validate --prove`, what comes of those (`record`), what comes of the way back
from that and from what transformers saves of it, and the plans for checkpoints that are `altered`
in a word. What survives all is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden import compare, sources
from golden.cases import CASES as GOLDEN
from library import records
from library.cases import CASES, Case
from library.defaults import other_defaults
from library.test_library import model_class, one_way_rules

from mapengine import api
from mapengine.errors import MapengineError
from mapengine.language.document import read_document
from mapengine.language.reading import read_mapping
from mapengine.planning.checks import check_mapping
from mapengine.planning.example import example_settings
from mutants.altered import Altered, altered
from mutants.mistakes import Mutant, mutants

CATCHERS = ("validate", "defaults", "plan", "prove", "record", "back", "altered")


@dataclass(frozen=True)
class GoldenCase(Case):
    """A golden case in one of the forms that were published, as one of the library's."""

    family: str = "script"

    def write_source(self, folder: Path) -> dict[str, Any]:
        sources.write_source(GOLDEN[self.name], folder, self.layout, self.family)
        return {}

    @property
    def back_values(self) -> dict[str, Any]:
        return {}

    def job(self, folder: Path, values: Mapping[str, Any], **more: Any) -> api.Job:
        if more.get("reverse"):
            layouts = {"hub": "hub", "script": "huggingface"}
            names = (layouts.get(self.layout, "native"), layouts.get(self.family, "mistral"))
            more["layout"] = "+".join(names)
        return api.Job(self.loaded(), folder, values=values, **more)


_GOLDEN = [
    GoldenCase("mixtral", "gqa", layout="hub", family="script"),
    GoldenCase("mixtral", "gqa_wide", layout="safetensors", family="native"),
    GoldenCase("mixtral", "mha_kv_heads_absent", layout="torrent", family="native"),
    GoldenCase("mixtral", "window_int", layout="hub", family="script"),
]


@dataclass(frozen=True)
class Leg:
    """One conversion that the right mapping does: what it reads, how, and what comes of it."""

    example: Mapping[str, Any]
    job: api.Job
    wanted: Path

    def planned(self, mapping: Any) -> tuple[api.Job, api.Plan] | None:
        """The conversion by a mapping that may have a mistake; None if it is refused."""
        job = replace(self.job, mapping=replace(mapping, example=self.example))
        try:
            return job, api.plan(job)
        except MapengineError:
            return None

    def catches(self, job: api.Job, planned: api.Plan, scratch: Path) -> str | None:
        """What a mistake shows in, once it is planned with."""
        with tempfile.TemporaryDirectory(dir=scratch) as made:
            out = Path(made, "out")
            try:
                api.run(job, out, sync=False, planned=planned)
            except MapengineError:
                return "record"
            if _by_key(out) == _by_key(self.wanted) and _configs(out) == _configs(self.wanted):
                return None
        return "back" if self.job.reverse else "record"


def legs_of_case(case: Case, folder: Path) -> Iterator[Leg]:
    """From what the script was given, which the mapping's own tests hold to what it made, and back.

    Back also from what transformers saves of it; not where the mapping has no way back.
    """
    values, example = case.write_source(folder / "source"), case.loaded().example or {}
    forward = Leg(example, case.job(folder / "source", values), folder / "there")
    yield _done(forward)
    for layout in _other_targets(forward.job):
        leg = Leg(example, replace(forward.job, layout=layout), folder / layout)
        if leg.planned(case.loaded()):  # what has no classifier is made into no classifier
            yield _done(leg)
    if one_way_rules(case.mapping):
        return
    starts = [folder / "there"]
    if not case.unloadable:
        load = model_class(folder / "there").from_pretrained
        load(folder / "there").save_pretrained(folder / "saved")
        starts.append(folder / "saved")
    for start in starts:
        job = case.job(start, case.back_values, reverse=True, **case.back)
        yield _done(Leg(example, job, folder / f"back-from-{start.name}"))


def _other_targets(job: api.Job) -> Iterator[str]:
    """The layouts that only one choice of the target makes another than a job's."""
    mapping, layout = job.mapping, api.plan(job).binding.layout
    names = mapping.target.layout_names
    for other in mapping.layouts():
        if other - names == layout - names and len(other - layout) == 1:
            yield "+".join(sorted(other))


def legs_of_example(mapping: Any, folder: Path) -> Iterator[Leg]:
    """The mapping's example in every layout, forward and back."""
    for layout in mapping.layouts():
        home, chosen = folder / "-".join(sorted(layout)), "+".join(sorted(layout)) or None
        values = api.make_example(mapping, layout, home / "source").values
        job = api.Job(mapping, home / "source", values=values, layout=chosen)
        yield _done(Leg(mapping.example, job, home / "there"))
        if one_way_rules(mapping):
            continue
        back = dict(example_settings(mapping, layout, "target").values)
        job = api.Job(mapping, home / "there", values=back, layout=chosen, reverse=True)
        yield _done(Leg(mapping.example, job, home / "back"))


def _done(leg: Leg) -> Leg:
    """A leg whose conversion is made."""
    api.run(leg.job, leg.wanted, sync=False)
    return leg


def _by_key(folder: Path) -> str:
    tensors = records.tensors_of(folder)
    return compare.digest_of_all({key.partition(":")[2]: one for key, one in tensors.items()})


def _configs(folder: Path) -> tuple[dict[str, str], Any]:
    found = [*folder.glob("*.json"), *folder.glob("*.yaml"), *folder.glob("*.yml")]
    texts = {path.name: path.read_text() for path in found if path.name != "mapengine.json"}
    return texts, records.values_of(folder)


def altered_legs(legs: Sequence[Leg], data: Any, folder: Path) -> Callable[[], list[Altered]]:
    """The sources of legs with altered configs, made when they are first asked for."""

    @cache
    def made() -> list[Altered]:
        return [
            one
            for i, leg in enumerate(legs)
            for one in altered(leg.job, _ignored(data, leg.job.reverse), folder / str(i))
        ]

    folder.mkdir()
    return made


def _ignored(data: Any, reverse: bool) -> dict[str, list[str]]:
    ignored: dict[str, list[str]] = data["target" if reverse else "source"].get("ignore", {})
    return ignored


def caught_by(
    mutant: Mutant, known: set[str], legs: Sequence[Leg], others: Callable[[], list[Altered]],
    scratch: Path,
) -> str:  # fmt: skip
    """The first of `CATCHERS` that a mistake shows in; `nothing` where none does.

    Of the defaults those `known` are meant to be other ones.
    """
    text = yaml.safe_dump(mutant.data, sort_keys=False, allow_unicode=True)
    try:
        mapping = read_mapping(read_document(text, "mutant.yaml"))
    except MapengineError:
        return "validate"
    if check_mapping(mapping) or api.validate(mapping):
        return "validate"
    if not set(map(str, other_defaults(mapping))) <= known:
        return "defaults"
    plans = list(takewhile(bool, (leg.planned(mapping) for leg in legs)))
    if len(plans) < len(legs):
        return "plan"
    try:
        api.prove(mapping)
    except MapengineError:
        return "prove"
    made = ((leg, plan) for leg, plan in zip(legs, plans, strict=True) if plan)
    if caught := next((c for leg, plan in made if (c := leg.catches(*plan, scratch))), None):
        return caught
    return "altered" if any(one.catches(mapping) for one in others()) else "nothing"


def hunt(name: str, every: int) -> list[tuple[str, str]]:
    """Each mistake in a mapping that is tried, and what caught it."""
    path = api.shipped_mappings()[name]
    mapping, data = api.load(path), read_document(path.read_text(), name).data
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        cases = [case for case in [*CASES.values(), *_GOLDEN] if case.mapping == name]
        legs = [leg for case in cases for leg in legs_of_case(case, home / case.name)]
        examples = list(legs_of_example(mapping, home / "example"))
        legs += examples
        others = altered_legs(examples, data, home / "altered")
        wrong = [leg for leg in legs if leg.catches(*(leg.planned(mapping) or ()), home)]
        assert not wrong, wrong
        known = set(map(str, other_defaults(mapping)))
        return [
            (mutant.what, caught_by(mutant, known, legs, others, home))
            for mutant in list(mutants(data))[::every]
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each so many-th mistake")
    parser.add_argument("--workers", type=int, default=2, help="how many processes: 2 by default")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mappings; all by default")
    arguments = parser.parse_args()
    names = arguments.names or sorted(api.shipped_mappings())
    started, counts = time.monotonic(), Counter[str]()
    with ProcessPoolExecutor(arguments.workers) as pool:
        of_each = pool.map(hunt, names, [arguments.every] * len(names))
        for name, found in zip(names, of_each, strict=True):
            counts.update(caught for _, caught in found)
            survivors = [what for what, caught in found if caught == "nothing"]
            print(
                f"{name}: {len(found) - len(survivors)} of {len(found)}",
                *survivors,
                sep="\n  ",
                flush=True,
            )
    total, alive = counts.total(), counts["nothing"]
    print(f"{total - alive} of {total} mistakes caught in {time.monotonic() - started:.0f} s")
    print(", ".join(f"{catcher} {counts[catcher]}" for catcher in CATCHERS))


if __name__ == "__main__":
    main()
