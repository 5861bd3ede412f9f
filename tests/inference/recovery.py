"""What `infer` finds of the mappings that ship, from data alone: `recovery.py [NAME ...]`.

The example of each mapping is made and converted. From the two folders a mapping is inferred, and
held against the one that ships: is what it makes the target, bit for bit; which rules make their
tensors of the same sources; which config values come from the same place. Then both are run on
examples of other sizes, of which inference has seen nothing. Last, `init` drafts one from headers.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mapengine import api
from mapengine.binding.binding import Binding
from mapengine.checkpoints.storage import RECEIPT
from mapengine.errors import MapengineError
from mapengine.inference.checking import differences
from mapengine.inference.contents import read_checkpoint
from mapengine.inference.infer import infer
from mapengine.inference.inferred import Inference
from mapengine.inference.init import draft
from mapengine.planning.example import example_settings
from mapengine.planning.expand import expand


@dataclass(frozen=True)
class Recovery:
    """Of each figure how much was found, and of how much."""

    name: str
    inference: Inference
    rules: tuple[int, int]
    tensors: tuple[int, int]
    fields: tuple[int, int]
    others: tuple[int, int]
    drafted: tuple[int, int]
    sure: tuple[int, int]


def measure(name: str, folder: Path, *, others: bool = True) -> Recovery:
    mapping = api.load(name)
    source, target = folder / "source", folder / "target"
    binding = _convert(mapping, source, target)
    found = infer(source, target)
    path = folder / "inferred.yaml"
    path.write_text(found.text)
    ours = api.plan(api.Job(path, source)).binding if not found.problems else None
    return Recovery(
        name,
        found,
        *_origins(binding, ours),
        _fields(binding, ours),
        _elsewhere(mapping, path, folder) if others and ours else (0, 0),
        *_drafted(binding, source, target, folder / "draft.yaml"),
    )


def _drafted(binding, source, target, path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of the tensors those that `init` pairs right, from headers; and of those it calls sure."""
    found = draft(source, target)
    path.write_text(found.text)
    try:
        ours = dict(_made(api.plan(api.Job(path, source)).binding))
    except MapengineError:
        return (0, found.of_tensors), (0, 0)
    right = {key: ours.get(key, ("",))[0] == of for key, (of, _) in _made(binding)}
    sure = [good for (key, _), good in right.items() if not found.doubts.get(key, True)]
    return (sum(right.values()), len(right)), (sum(sure), len(sure))


def _convert(mapping, source, target) -> Binding:
    """Makes the example and what comes of it; the binding it was done with."""
    settings = api.make_example(mapping, api.example_layout(mapping, None), source)
    job = api.Job(mapping, source, values=settings.values)
    plan = api.plan(job)
    api.run(job, target, sync=False, planned=plan)
    (target / RECEIPT).unlink()
    return plan.binding


def _origins(binding, ours) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rules, and the tensors, that are made of the same source tensors."""
    known = dict(_made(ours)) if ours else {}
    right = {key: known.get(key, ("",))[0] == of for key, (of, _) in _made(binding)}
    rules: dict[str, bool] = {}
    for key, (_, rule) in _made(binding):
        rules[rule] = rules.get(rule, True) and right[key]
    return (sum(rules.values()), len(rules)), (sum(right.values()), len(right))


def _made(binding) -> Iterator[tuple[str, tuple[frozenset, str]]]:
    for step in expand(binding).steps:
        addresses = {binding.tensors[address].location for address in step.sources.members}
        for key in step.targets.members:
            yield key, (frozenset((one.file, one.offset) for one in addresses), step.rule.path)


def _fields(binding, ours) -> tuple[int, int]:
    """The values of the target's config that come from the same place of the source's."""
    wanted = dict(_places(binding))
    found = dict(_places(ours)) if ours else {}
    return sum(bool(found.get(path, set()) & of) for path, of in wanted.items()), len(wanted)


def _places(binding) -> Iterator[tuple[tuple, set]]:
    """Of each target path the source paths that its value is read from, where there are any."""
    for field in binding.mapping.fields.values():
        layout = binding.names.layout
        paths = field.paths("source", layout)
        of = {path.steps for path in paths if _there(binding, path)}
        for path in field.paths("target", layout):
            if of:
                yield (path.file or "", path.steps), {steps[-1:] for steps in of}


def _there(binding, path) -> bool:
    from mapengine.binding.config_values import ABSENT, look_up

    main = binding.mapping.source.config_file(binding.names.layout)
    configs = binding.names.inventory.configs
    files = [path.file] if path.file else [main.file] if main and main.file else list(configs)
    steps = (*(main.at if main and not path.file else ()), *path.steps)
    places = [configs.get(file) for file in files]
    places += [one.objects for one in binding.names.inventory.files.values()]
    return any(look_up(config, steps) is not ABSENT for config in places)


def _elsewhere(mapping, inferred, folder) -> tuple[int, int]:
    """On how many examples of other sizes both mappings make the same."""
    right = tried = 0
    for number, other in enumerate(variants(mapping)):
        place = folder / f"other-{number}"
        place.mkdir()
        try:
            _convert(other, place / "source", place / "target")
        except MapengineError:
            continue
        tried += 1
        with contextlib.suppress(MapengineError):
            api.run(api.Job(inferred, place / "source"), place / "made", sync=False)
            made, wanted = read_checkpoint(place / "made"), read_checkpoint(place / "target")
            right += not list(differences(made, wanted))
    return right, tried


def variants(mapping) -> Iterator:
    """The mapping with one number of its example doubled, where the rest goes with it.

    Numbers that no file of the source says are left: no data can tell of them.
    """
    unsaid = example_settings(mapping, api.example_layout(mapping, None)).values
    for name, value in (mapping.example or {}).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 2 or name in unsaid:
            continue
        other = replace(mapping, example={**mapping.example, name: 2 * value})
        with contextlib.suppress(MapengineError):
            api.check_example(other, api.example_layout(other, None))
            yield other


def row(one: Recovery) -> str:
    """A line of the table in the docs."""
    done = "yes" if one.inference.complete else "no"
    found = one.rules, one.tensors, one.fields, one.others, one.drafted, one.sure
    cells = [f"{a} of {b}" for a, b in found]
    return f"| {' | '.join([one.name, done, *cells])} |"


def main() -> int:
    bad = 0
    print(
        "| mapping | bit for bit | rules | tensors | config values | other sizes | drafted | sure |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or api.shipped_mappings():
        with tempfile.TemporaryDirectory() as folder:
            one = measure(name, Path(folder))
        print(row(one), flush=True)
        bad += not one.inference.complete
    return bad


if __name__ == "__main__":
    sys.exit(main())
