"""Run a plan into an object store: shards as they become whole, then all that names them.

    OUTPUT/
        model-00001-of-00009.safetensors ...  each whole from the moment that it is there
        .mapengine/lease.json                 whose run is at work, and still alive
        .mapengine/run.json                   which run it is, and the files it makes
        .mapengine/records/NAME.json          what was sent, so that the same run goes on from there
        model.safetensors.index.json, ...     when all shards are there
        mapengine.json                        last: where it is, the checkpoint is whole

Nothing there can be renamed, or replaced with all else at once. So an output is made where nothing
is, and `.mapengine` is gone when it is whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mapengine.checkpoints.finished import finished
from mapengine.checkpoints.journal import Finished, sound
from mapengine.checkpoints.leases import Lease, leased
from mapengine.checkpoints.links import SourceFolder
from mapengine.checkpoints.remote import connect
from mapengine.checkpoints.uploads import Uploads
from mapengine.checkpoints.workspace import foreign
from mapengine.errors import MapengineError, OutputError, PlanError, Problem, SourceChangedError
from mapengine.executors import EXECUTORS
from mapengine.locations import URL
from mapengine.planning.plan import Plan
from mapengine.specs import RECEIPT

Files = dict[str, int] | None
OURS = ".mapengine"
_AT_ONCE = 8
_RUN = f"{OURS}/run.json"
_RECORDS = f"{OURS}/records"


@dataclass
class ObjectPlace:
    """Where an output in an object store is made: here a file at a time, there what is whole."""

    uploads: Uploads
    scratch: Path
    lease: Lease
    kept: dict[str, Finished] = field(default_factory=dict)
    made: dict[str, Finished] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    is_begun: bool = False
    sync: bool = False

    def __post_init__(self) -> None:
        self.parts.mkdir()
        self.new.mkdir()

    @property
    def parts(self) -> Path:
        return self.scratch / "parts"

    @property
    def new(self) -> Path:
        return self.scratch / "new"

    def add(self, name: str, finished: Finished) -> None:
        """Sends a file of `parts`, notes that it is there, and removes it here."""
        self.lease.check()
        path = self.parts / name
        entry = self.uploads.upload(name, path)
        self.tags[name] = entry.tag
        record = {"tag": entry.tag, "finished": asdict(finished)}
        self.uploads.put(f"{_RECORDS}/{name}.json", json.dumps(record).encode())
        self.made[name] = finished
        path.unlink()

    def finished(self, source: SourceFolder, plan: Plan, of_run: Mapping[str, str]) -> Files:
        """The files of an output of this very run, where it is there; what it left goes."""
        files = finished(self.uploads.folder.url, source, plan, of_run)
        if files:
            self._forget(_records(self.uploads))
        return files

    def resume(self, plan: Plan, identity: Mapping[str, str], restart: bool) -> None:
        """Keeps what an earlier run of the same identity has sent, unless it is to `restart`.

        Raises `OutputError` where another's is there, or anything that no run has made.
        """
        url = self.uploads.folder.url
        there = names_there(url)
        told = self.uploads.read(_RUN)
        records = _records(self.uploads) if told else {}
        is_same = told.get("identity") == identity
        if records and not is_same and not restart:
            raise OutputError(foreign(url, told.get("identity", {}), identity))
        ours = {str(name) for name in told.get("files", ())}
        if strange := sorted(there - ours - {OURS}):
            raise OutputError(_occupied(url, strange[0]))
        self.uploads.abandon()
        if is_same and not restart:
            self.kept = _whole(records, url, {shard.name for shard in plan.shards})
        stale = ours & there - self.kept.keys()
        self.uploads.remove(
            sorted(stale, key=lambda name: name != RECEIPT)
        )  # what says it is whole
        self._forget(records.keys() - self.kept.keys())
        self.names = _names(plan)
        begun = {"identity": dict(identity), "files": sorted(self.names)}
        self.uploads.put(_RUN, json.dumps(begun).encode())
        self.made = dict(self.kept)
        self.tags = {name: records[name].get("tag") for name in self.kept}
        self.is_begun = True

    def publish(self) -> dict[str, int]:
        """Sends what lies in `new`, the receipt last; all files of the output and their sizes."""
        beside = sorted(self.new.iterdir(), key=lambda path: (path.name == RECEIPT, path.name))
        for path in beside:
            self.lease.check()
            if path.name == RECEIPT:
                self._check()
            self.uploads.upload(path.name, path)
        self._forget(self.made)
        sizes = {path.name: path.stat().st_size for path in beside}
        return dict(sorted({**sizes, **{n: one.size for n, one in self.made.items()}}.items()))

    def _check(self) -> None:
        """Raises `OutputError` where a shard is not what was sent: another run has been here."""
        url = self.uploads.folder.url
        entries = connect(url).entries(fresh=True, may_be_missing=True)
        for name, one in self.made.items():
            entry = entries.get(name)
            if entry is None or (entry.size, entry.tag) != (one.size, self.tags[name]):
                message = f"{url / name} is not what was sent there"
                raise OutputError(Problem("ME616", message, help="let one run at a time write it"))

    def discard(self) -> None:
        """Removes all that this run and those before it have sent, unless it is another's now."""
        if not self.lease.is_lost:
            self.uploads.remove(self.names & names_there(self.uploads.folder.url))
            self._forget(self.made)

    def leave(self, error: BaseException) -> None:
        """Keeps what is whole, if anything is, and says so in a note to the error."""
        if not self.made:
            with contextlib.suppress(MapengineError):
                self.discard()
        kept = "the same command goes on from here" if self.made else "nothing is left behind"
        error.add_note(kept)

    def _forget(self, records: Iterable[str]) -> None:
        self.uploads.remove([*(f"{_RECORDS}/{name}.json" for name in records), _RUN])


@contextlib.contextmanager
def object_place(url: URL, scratch: Path, restart: bool, overwrite: bool) -> Iterator[ObjectPlace]:
    """A place to make an output at `url` in, for this run alone.

    What is whole in the end stays for the next run, unless it is of no use to any. Raises
    `OutputError` where another run is at work there, or anything that no run has made.
    """
    if overwrite:
        message = f"{url}: nothing in an object store can be replaced at once"
        help = "name a folder where nothing is; or --restart, where a run was interrupted"
        raise OutputError(Problem("ME611", message, help=help))
    there = names_there(url)
    if there and not there & {OURS, RECEIPT}:
        raise OutputError(_occupied(url, min(there)))
    uploads = Uploads(connect(url))
    with leased(uploads, OURS, restart) as lease:
        place = ObjectPlace(uploads, scratch, lease)
        try:
            yield place
        except (PlanError, SourceChangedError):
            if place.is_begun:
                place.discard()
            raise
        except BaseException as error:
            if place.is_begun:
                place.leave(error)
            raise


def names_there(url: URL) -> set[str]:
    """All names in a folder elsewhere, none where it is not there."""
    return set(connect(url).names_there())


def _names(plan: Plan) -> set[str]:
    """All files of an output."""
    beside = {plan.index, plan.card, RECEIPT, *plan.configs, *plan.companions}
    return {shard.name for shard in plan.shards} | {name for name in beside if name}


def _records(uploads: Uploads) -> dict[str, dict[str, Any]]:
    """What was noted of each file that was sent."""
    names = sorted(names_there(uploads.folder.url / _RECORDS))
    told = EXECUTORS["local"](lambda name: uploads.read(f"{_RECORDS}/{name}"), names, _AT_ONCE)
    return {name.removesuffix(".json"): one for name, one in zip(names, told, strict=True)}


def _whole(
    records: Mapping[str, dict[str, Any]], url: URL, names: Container[str]
) -> dict[str, Finished]:
    """Those that are still what was sent."""
    entries = connect(url).entries(fresh=True, may_be_missing=True)
    whole = {}
    for name, record in records.items():
        told, entry = sound(record.get("finished")), entries.get(name)
        if not told or not entry or name not in names or told.name != name:
            continue
        if (entry.size, entry.tag) == (told.size, record.get("tag")):
            whole[name] = told
    return whole


def _occupied(url: URL, name: str) -> Problem:
    message = f"{url} is not empty: it holds {name}"
    return Problem("ME611", message, help="name a folder where nothing is")
