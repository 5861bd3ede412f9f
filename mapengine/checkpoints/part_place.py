"""Where one part of an output is made, while other processes make others.

    .OUTPUT.mapengine/
        lock             shared by the parts; a run, or who publishes, has it alone
        plan.json        what the parts agree on
        parts/2-of-8/
            lock         of the process at work on this part
            journal      the files that this part has made whole
            files/       the files that are not
        new/             the files that are whole, whoever made them

No two processes append to one file, so the folder can lie where several machines see it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapengine.checkpoints.folder import read_json
from mapengine.checkpoints.journal import JOURNAL, Finished, Journal
from mapengine.checkpoints.locks import alone, locked, shared
from mapengine.checkpoints.publishing import recover
from mapengine.checkpoints.workspace import (
    JOB,
    Whole,
    Workspace,
    discard,
    foreign,
    place_of,
    refuse_foreign,
)
from mapengine.errors import MapengineError, OutputError, PlanError, SourceChangedError
from mapengine.planning.parts import Part


@dataclass
class PartPlace:
    """The place of a part. `kept` are files of it that are whole already."""

    common: Workspace
    part: Part
    kept: Mapping[str, Finished] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.common.parts / self.part.name

    @property
    def parts(self) -> Path:
        return self.home / "files"

    @property
    def sync(self) -> bool:
        return self.common.sync

    def add(self, name: str, finished: Finished) -> None:
        """Takes a file from `parts` as whole. Another part may have made the very same."""
        (self.parts / name).rename(self.common.new / name)
        Journal(self.home / JOURNAL).record(finished)

    def finished(self) -> set[str]:
        """The files that are whole by now, whoever made them."""
        return {name for told in self.common.told() for name in told.finished}

    def resume(self, names: Collection[str], identity: Mapping[str, Any], whole: Whole) -> None:
        """Keeps those of `names` that are still `whole`, whoever made them."""
        told = self.common.of_identity(identity)
        made = [one for each in told for one in each.finished.values() if one.name in names]
        whole_ones = whole(self.common.new, made)
        self.kept = {one.name: one for one in map(self.common.synced, whole_ones)}
        Journal(self.home / JOURNAL).begin(identity, list(self.kept.values()))
        discard(self.parts)
        self.parts.mkdir()

    def forget(self) -> None:
        """Removes what this part has made, which is of no use to any other."""
        told = Journal(self.home / JOURNAL).read()
        discard(self.home / JOURNAL)
        for name in told.finished if told else ():
            discard(self.common.new / name)


@contextlib.contextmanager
def part_place(
    output: Path,
    part: Part,
    names: Collection[str],
    identity: Mapping[str, Any],
    job: Mapping[str, Any],
    *,
    whole: Whole,
    sync: bool,
) -> Iterator[PartPlace]:
    """A place to make the files `names` of `output` in, for this process alone, beside others.

    What is whole in the end stays there, to be published. `job` is put there for who does.

    Raises `OutputError` where another process makes this part, or all, and where a run or a part of
    another identity was here.
    """
    output, path = output.absolute(), place_of(output)
    refuse_foreign(path)
    common = Workspace(path, output, overwrite=False, sync=sync)
    own = PartPlace(common, part)
    try:
        with (
            shared(path, lambda: _begin(common, identity, job), lambda: _begun(common, identity)),
            locked(own.home, f"part {part} of {output}"),
        ):
            own.resume(names, identity, whole)
            try:
                yield own
            except (PlanError, SourceChangedError):
                own.forget()
                raise
            finally:
                discard(own.parts)
    except BaseException as error:
        with contextlib.suppress(OSError):
            gone = _remove_unused(common)
            error.add_note(f"{'nothing is left behind' if gone else _GOES_ON}")
        raise
    _remove_unused(common)


_GOES_ON = "the same command goes on from here"


def _begin(place: Workspace, identity: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Makes the place ready for parts; what others of the same identity have made stays."""
    recover(place.output, place.path / "old")
    discard(place.path / "old")
    if not place.of_identity(identity):
        place.clear(())
    for folder in (place.parts, place.new):
        folder.mkdir(exist_ok=True)
    for path in place.parts.iterdir():
        if not (path / JOURNAL).is_file():  # left by a run that was whole
            discard(path)
    if _agreed(place) != identity:
        fresh = place.path / f"{JOB}.new"
        fresh.write_text(json.dumps({**job, "run": identity}, indent=2) + "\n", encoding="utf-8")
        fresh.replace(place.path / JOB)


def _begun(place: Workspace, identity: Mapping[str, Any]) -> bool:
    """Whether the place is ready. Raises `OutputError` where it is for something else."""
    told = _agreed(place)
    if told is not None and told != identity:
        raise OutputError(foreign(place.output, told, identity))
    return told is not None


def _agreed(place: Workspace) -> Mapping[str, Any] | None:
    """The identity that the parts have; None where there are none."""
    try:
        told = read_json(place.path / JOB)
    except MapengineError:
        return None
    run = told.get("run") if isinstance(told, dict) else None
    return run if isinstance(run, dict) else None


def _remove_unused(place: Workspace) -> bool:
    """Removes the place where it holds nothing, and nobody is at work; whether it is gone."""
    with alone(place.path) as is_alone:
        unused = is_alone and not any(told.finished for told in place.told())
        if unused:
            place.remove()
        return unused
