"""Bits that turn on the disk: in what a run leaves, in what it published, and in its source.

What is noticed, and what is not, is said in docs/reliability.md.
"""

import json
import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from mapengine import api, verify
from mapengine.checkpoints import direct
from mapengine.checkpoints.hashing import still_whole
from mapengine.checkpoints.identity import identity, times
from mapengine.checkpoints.journal import Journal
from mapengine.checkpoints.links import SourceFolder
from mapengine.errors import OutputError
from reliability import runs

PLACE = Path(".out.mapengine")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path)
    return tmp_path


def job():
    return api.Job("small.yaml", "source", max_shard_size=400_000)


def stopped(**options):
    """A run that is stopped when two of its shards are whole."""

    def stop(_):
        if len(list(PLACE.glob("new/*"))) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(job(), "out", progress=stop, workers=1, **options)


def flipped(data, at, bit):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def written_like(path, data):
    """Writes a file so that its size and its time are as before: only the bytes tell."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# -- the journal ----------------------------------------------------------------------------------


def test_a_journal_with_a_bit_turned_in_any_byte_says_less_and_never_something_else():
    stopped()
    path = PLACE / "journal"
    data, true = path.read_bytes(), Journal(path).read()
    assert len(true.finished) == 2
    chance = random.Random(4)
    for at in range(len(data)):
        path.write_bytes(flipped(data, at, chance.randrange(8)))
        told = Journal(path).read()
        if told is not None:
            assert told.identity == true.identity
            assert all(true.finished[name] == one for name, one in told.finished.items())
            assert len(told.finished) < len(true.finished)


# -- what is kept of an interrupted run -----------------------------------------------------------


@pytest.mark.skipif(
    not direct.is_possible(Path(tempfile.gettempdir())), reason="takes a file system on a disk"
)
def test_a_bit_that_turns_in_a_shard_before_it_is_gone_on_with_is_noticed():
    """Of a synced run on a disk, whose bytes went through memory, and of its headers."""
    stopped()
    assert_noticed(step=499)


def test_with_hash_it_is_noticed_wherever_the_output_lies():
    stopped(hash=True, sync=False)
    assert_noticed(step=1009)


def assert_noticed(step):
    told = next(iter(Journal(PLACE / "journal").read().finished.values()))
    shard = PLACE / "new" / told.name
    data = shard.read_bytes()
    assert list(still_whole(shard.parent, [told])) == [told]
    chance = random.Random(0)
    for at in [*range(0, 1200, 7), *range(1200, len(data), step), len(data) - 1]:
        written_like(shard, flipped(data, at, chance.randrange(8)))
        assert not list(still_whole(shard.parent, [told])), at
    api.run(job(), "out", hash=told.sha256 is not None)
    api.run(job(), "wanted", hash=told.sha256 is not None)
    assert runs.digest(Path("out")) == runs.digest(Path("wanted"))


def test_without_sync_and_hash_only_size_and_time_tell():
    """Said in the documentation: what the kernel copies, nobody has seen."""
    stopped(sync=False)
    told = next(iter(Journal(PLACE / "journal").read().finished.values()))
    shard = PLACE / "new" / told.name
    data = shard.read_bytes()
    written_like(shard, flipped(data, len(data) - 1, 0))
    assert list(still_whole(shard.parent, [told])) == [told]
    shard.write_bytes(flipped(data, len(data) - 1, 0))
    assert not list(still_whole(shard.parent, [told]))


# -- what was published ---------------------------------------------------------------------------


def test_a_bit_that_turns_in_an_output_is_found_by_verify_where_there_are_hashes():
    api.run(job(), "out", hash=True)
    chance, unnoticed = random.Random(1), []
    for path in sorted(Path("out").iterdir()):
        data = path.read_bytes()
        if path.name == "mapengine.json":
            continue
        for at in sorted({0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(12))}):
            path.write_bytes(flipped(data, at, chance.randrange(8)))
            if not findings():
                unnoticed.append((path.name, at))
        path.write_bytes(data)
    assert unnoticed == [] and not findings()


def findings():
    """What `verify` says of the files and the receipt."""
    return [p for check in verify("out", load=False)[:2] for p in check.findings]


def test_a_receipt_with_any_byte_changed_never_makes_a_wrong_output_a_finished_one():
    """It can only lose: then the output is refused, or made again, and never taken for another."""
    api.run(job(), "out")
    path = Path("out/mapengine.json")
    data, wanted = path.read_bytes(), runs.digest(Path("out"))
    chance, ends = random.Random(2), set()
    for at in sorted(chance.sample(range(len(data)), 150)):
        path.write_bytes(flipped(data, at, chance.randrange(8)))
        try:
            ends.add(api.run(job(), "out").was_finished)
        except OutputError as error:
            assert {problem.code for problem in error.problems} == {"ME611"}
            ends.add("refused")
        others = {p.name: p.read_bytes() for p in Path("out").iterdir() if p != path}
        assert len(others) == len(json.loads(data)["files"])
        assert not PLACE.exists()
    path.write_bytes(data)
    assert runs.digest(Path("out")) == wanted and ends == {True, "refused"}


def test_the_hashes_of_files_in_a_receipt_cannot_change_without_being_missed():
    api.run(job(), "out", hash=True)
    path = Path("out/mapengine.json")
    data = path.read_bytes()
    chance, unnoticed = random.Random(3), []
    for name, digest in json.loads(data)["sha256"]["files"].items():
        at = data.index(digest.encode()) + chance.randrange(64)
        path.write_bytes(data[:at] + (b"0" if data[at] != ord("0") else b"1") + data[at + 1 :])
        if not findings():
            unnoticed.append(name)
    path.write_bytes(data)
    assert unnoticed == [] and not findings()


# -- the source -----------------------------------------------------------------------------------


def copied_like(source, target):
    """A copy whose times are those of the first."""
    shutil.copytree(source, target, copy_function=shutil.copy2)


def test_a_source_that_another_takes_the_place_of_is_noticed_whatever_its_times_say():
    """The system notes a change of its own (ctime), which nothing sets back."""
    stopped()
    copied_like("source", "other")
    data = Path("other/model.safetensors").read_bytes()
    written_like(Path("other/model.safetensors"), flipped(data, len(data) - 1, 0))
    shutil.rmtree("source")
    Path("other").rename("source")
    with pytest.raises(OutputError, match="ME617"):
        api.run(job(), "out")


def test_by_the_headers_alone_a_change_of_a_header_is_noticed_and_one_of_data_is_not():
    """What is left where a file system has no times of its own: they are put equal here."""
    path = Path("source/model.safetensors")
    data, first = path.read_bytes(), api.plan(job())
    other_dtype = data.replace(b'"norm":{"dtype":"BF16"', b'"norm":{"dtype":"F16" ')
    assert len(other_dtype) == len(data) and other_dtype != data
    seen = []
    for now in (data, flipped(data, len(data) - 1, 0), other_dtype):
        path.write_bytes(now)
        plan = api.plan(job())
        alike = {n: replace(f, stamp=first.stored[n].stamp) for n, f in plan.stored.items()}
        plan = replace(plan, stored=alike)
        source = SourceFolder(Path("source"))
        seen.append({**identity(plan, source, hash=False), **times(plan, source)})
    assert seen[0] == seen[1]
    assert seen[0]["the source"] != seen[2]["the source"]
