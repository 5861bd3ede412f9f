"""An output made by several processes: each a part of it, then published, and never twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mapengine import api, parts
from mapengine.checkpoints.workspace import place_of
from mapengine.errors import OutputError, PlanError
from mapengine.planning.parts import Part, part_numbers, shards_of
from mapengine.planning.plan import Shard
from reliability import runs

PLACE = Path(".out.mapengine")
SIZE = 200_000
ALL = 8
"""Shards of the output."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare(tmp_path)
    return tmp_path


def job(**options):
    return api.Job("small.yaml", "source", **{"max_shard_size": SIZE, **options})


def made(*texts, **options):
    return [parts.run_part(job(), "out", text, **options) for text in texts]


def undisturbed(**options):
    api.run(job(), "undisturbed", **options)
    return runs.digest(Path("undisturbed"))


def words(part, *more):
    options = ["--max-shard-size", str(SIZE), "--quiet", "--part", part, *more]
    return [runs.sys.executable, "-m", "mapengine", "run", "small.yaml", "-s", "source",
            "-o", "out", *options]  # fmt: skip


def started(part, *more):
    return subprocess.Popen(
        words(part, *more), stderr=subprocess.PIPE, text=True, env=runs.environment()
    )


def files(folder):
    """What is in a folder of the place, which may come and go."""
    try:
        return list((PLACE / folder).iterdir())
    except FileNotFoundError:
        return []


# -- which shards are of which part ---------------------------------------------------------------


class Sized(Shard):
    """A shard of so many bytes."""

    nbytes = property(lambda self: int(self.name.partition("-")[2]))


def sized(*sizes):
    return [Sized(f"{at:03d}-{size}", ()) for at, size in enumerate(sizes)]


@pytest.mark.parametrize("seed", range(20))
def test_every_shard_is_of_one_part_and_none_has_much_more_than_another(seed):
    chance = random.Random(seed)
    shards = sized(*(chance.randint(0, 1000) for _ in range(chance.randint(1, 60))))
    count = chance.randint(1, 12)
    of = [shards_of(shards, Part(number, count)) for number in range(1, count + 1)]
    assert sorted(s.name for part in of for s in part) == sorted(s.name for s in shards)
    loads = [sum(s.nbytes for s in part) for part in of]
    assert max(loads) - min(loads) <= max(s.nbytes for s in shards)
    assert all(part == sorted(part, key=shards.index) for part in of)


def test_the_parts_do_not_depend_on_the_order_of_the_shards():
    shards = sized(5, 5, 5, 3, 3, 9, 0)
    assert part_numbers(shards, 3) == part_numbers(shards[::-1], 3)


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/", "a/b", "1/0", "-1/3", "1/3/5", "²/8"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(OutputError, match="ME622"):
        Part.parse(text)


# -- made, and published --------------------------------------------------------------------------


@pytest.mark.parametrize("hash", [False, True])
@pytest.mark.parametrize("count", [1, 3, 11])
def test_parts_come_to_what_one_run_does(count, hash):
    told = made(*(f"{number}/{count}" for number in range(1, count + 1)), hash=hash)
    assert not Path("out").exists()
    assert sorted(name for one in told for name in one.shards) == sorted(
        path.name for path in PLACE.glob("new/*")
    )
    assert told[-1].left == []
    result = parts.publish("out")
    assert result.files == api.run(job(), "out", hash=hash).files  # which finds it finished
    assert runs.digest(Path("out")) == undisturbed(hash=hash)
    assert not PLACE.exists()


def test_one_part_of_different_numbers_of_parts_fits_to_the_others():
    made("1/2", "2/3", "3/3", "1/3")
    parts.publish("out")
    assert runs.digest(Path("out")) == undisturbed()


def test_what_is_missing_is_named_and_the_command_said_makes_it(folder):
    made("1/3", "3/3")
    with pytest.raises(
        OutputError, match=f"ME620 .* of {ALL} shards of out are missing"
    ) as refused:
        parts.publish("out")
    (problem,) = refused.value.problems
    missing = {shard.name for shard in shards_of(api.plan(job()).shards, Part(2, 3))}
    assert all(name in problem.message for name in missing)
    command = problem.help.split("`")[1].split()
    assert command[0] == "mapengine" and command[-1] == "2/3"
    done = subprocess.run(
        [runs.sys.executable, "-m", *command], capture_output=True, text=True,
        env=runs.environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Next: mapengine publish out" in done.stderr
    parts.publish("out")
    assert runs.digest(Path("out")) == undisturbed()


def test_to_publish_twice_is_to_publish_once():
    made("1/1")
    first = parts.publish("out")
    before = runs.digest(Path("out"))
    again = parts.publish("out")
    assert again.was_finished and again.files == first.files and again.tensors == first.tensors
    assert runs.digest(Path("out")) == before
    (told,) = made("1/1")
    assert told.was_finished and not PLACE.exists()


def test_nothing_is_published_of_nothing():
    with pytest.raises(OutputError, match="ME621"):
        parts.publish("out")


def test_a_whole_run_goes_on_from_what_parts_have_made():
    (told,) = made("2/3")
    assert api.run(job(), "out").kept == len(told.shards)
    assert runs.digest(Path("out")) == undisturbed()


def test_parts_go_on_from_what_a_whole_run_has_made():
    def stop(_):
        if len(list(PLACE.glob("new/*"))) >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(job(), "out", progress=stop, workers=1)
    there = len(list(PLACE.glob("new/*")))
    assert sum(told.kept for told in made("1/2", "2/2")) == there
    parts.publish("out")
    assert runs.digest(Path("out")) == undisturbed()


def test_backwards_and_one_after_the_other():
    api.run(job(), "there")
    back = api.Job("small.yaml", "there", max_shard_size=SIZE, reverse=True)
    through = job(then="small.yaml", then_reverse=True)
    for one, name in ((back, "back"), (through, "through")):
        for number in (2, 1):
            parts.run_part(one, name, f"{number}/2")
        parts.publish(name)
        api.run(one, f"{name}-alone")
        assert runs.digest(Path(name)) == runs.digest(Path(f"{name}-alone"))


def test_an_output_is_replaced_where_that_is_asked_for():
    api.run(job(dtype="float32"), "out")
    before = runs.digest(Path("out"))
    with pytest.raises(OutputError, match="ME611"):
        made("1/1")
    made("1/1", overwrite=True)
    with pytest.raises(OutputError, match="ME611"):
        parts.publish("out")
    assert runs.digest(Path("out")) == before
    made("1/1", overwrite=True)
    parts.publish("out", overwrite=True)
    assert runs.digest(Path("out")) == undisturbed()


def test_unsynced_parts_are_read_once_more_and_synced_ones_are_not():
    made("1/2", sync=False, hash=True)
    made("2/2", hash=True)
    for number, noticed in ((2, False), (1, True)):
        name = shards_of(api.plan(job()).shards, Part(number, 2))[0].name
        path = PLACE / "new" / name
        status, data = path.stat(), bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # only its bytes tell
        if noticed:
            with pytest.raises(OutputError, match=f"ME620 1 of {ALL} .*: {name}"):
                parts.publish("out")


def test_a_file_that_was_cut_is_missing():
    made("1/1")
    path = next(PLACE.glob("new/*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OutputError, match=f"ME620 1 of {ALL} .*{path.name}"):
        parts.publish("out")


# -- of something else ----------------------------------------------------------------------------


CHANGES = {
    "the mapping": lambda: Path("small.yaml").write_text(runs.MAPPING.replace("- norm", "-  norm")),
    "the times of the source's files": lambda: runs.prepare(Path(), salt=1.0),
    "the source": lambda: Path("source/tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_part_of_something_else_is_refused_and_so_is_publishing(what):
    made("1/2")
    CHANGES[what]()
    before = runs.digest(PLACE)
    with pytest.raises(OutputError, match=f"ME617 .*{what}"):
        made("2/2")
    assert runs.digest(PLACE) == before
    with pytest.raises(OutputError, match=f"ME617 .*{what}") as refused:
        parts.publish("out")
    assert "--restart" in refused.value.problems[0].help
    assert runs.digest(PLACE) == before
    assert api.run(job(), "out", restart=True).kept == 0
    assert not PLACE.exists()


def test_a_part_with_other_hashing_is_another():
    made("1/2")
    with pytest.raises(OutputError, match=r"ME617 .*the options"):
        made("2/2", hash=True)


def test_other_parts_begin_anew_where_nothing_was_made():
    """What a part that failed agreed on binds nobody."""
    PLACE.mkdir()
    (PLACE / "plan.json").write_text(json.dumps({"run": {"the mapping": "another"}}))
    made("1/2", "2/2")
    parts.publish("out")
    assert runs.digest(Path("out")) == undisturbed()


def test_a_value_that_is_lost_leaves_nothing_of_a_lone_part(folder):
    text = runs.MAPPING.replace("- norm", "- norm: {ops: [{mul: 1.0e+38}]}")
    Path("small.yaml").write_text(text)
    norm = next(s for s in api.plan(job()).shards if any(t.key == "norm" for t in s.tensors))
    number = part_numbers(api.plan(job()).shards, 3)[norm.name]
    with pytest.raises(PlanError, match="ME305"):
        made(f"{number}/3")
    assert {path.name for path in folder.iterdir()} == {"source", "small.yaml"}


def test_what_no_part_has_looked_at_is_looked_at_before_it_is_published():
    cut = "{ops: [{unpad: {from: 7, to: 5, dim: 0}}]}"
    kept, _, _ = runs.MAPPING.partition("dims:")
    Path("small.yaml").write_text(
        kept.replace("config: {", "config: {rows: {value: 7}, ")
        + f"tensors:\n  - good: {cut}\n  - bad: {cut}\n".replace("from: 7", "from: rows")
    )
    good, bad = torch.zeros(7), torch.arange(7.0)
    save_file({"good": good, "bad": bad}, "source/model.safetensors")
    one = api.Job("small.yaml", "source")
    assert [check.key for check in api.plan(one).checks] == ["good", "bad"]
    parts.run_part(one, "out", "1/2")  # has the only shard, and not the second check
    with pytest.raises(PlanError, match=r"ME3.*bad"):
        parts.publish("out")
    assert not Path("out").exists()


def test_neither_restart_nor_the_example_are_for_a_part(folder):
    for more, told in ((("-s", "source", "--restart"), "--restart is not"), ((), "--source is")):
        done = runs.said("run", "small.yaml", "-o", "out", "--part", "1/2", *more)
        assert done[0] == 2 and told in done[1]


# -- at once, and stopped -------------------------------------------------------------------------


def test_parts_at_once_and_the_same_twice(folder):
    wanted = undisturbed()
    for _ in range(3):
        at_work = [started(f"{number}/3") for number in (1, 2, 3, 2, 2)]
        told = [(process.communicate()[1], process.returncode) for process in at_work]
        lost = [text for text, code in told if code]
        assert [text for text in lost if "ME616" not in text] == []
        assert len(lost) <= 2
        parts.publish("out")
        assert runs.digest(Path("out")) == wanted
        assert not PLACE.exists()
        shutil.rmtree("out")


def test_a_part_at_work_keeps_others_from_the_same_and_from_publishing(folder):
    refusals = []

    def meanwhile(_):
        if not refusals:
            for act in (
                lambda: made("1/2"),
                lambda: parts.publish("out"),
                lambda: api.run(job(), "out"),
                lambda: api.run(job(), "out", restart=True),
            ):
                with pytest.raises(OutputError, match="ME616") as refused:
                    act()
                refusals.append(refused.value.problems[0].message)
            made("2/2")  # which is another

    made("1/2", progress=meanwhile, workers=1)
    assert refusals[0].startswith(f"part 1/2 of {folder / 'out'} is at work for process")
    parts.publish("out")
    assert runs.digest(Path("out")) == undisturbed()


@pytest.mark.parametrize("seed", range(6))
def test_a_part_that_was_killed_is_run_again(folder, seed):
    wanted = undisturbed()
    chance = random.Random(seed)
    made("2/2")
    for _ in range(2):
        process = started("1/2")
        until = time.monotonic() + 30
        if seed % 2:  # as soon as it writes, and a little later
            while not files("parts/1-of-2/files") and process.poll() is None:
                assert time.monotonic() < until
            time.sleep(chance.random() * 0.02)
        else:
            time.sleep(chance.random() * 1.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not Path("out").exists()
    made("1/2")
    parts.publish("out")
    assert runs.digest(Path("out")) == wanted
    assert not PLACE.exists()


def test_a_part_that_is_interrupted_says_how_to_go_on(folder):
    process = started("1/1")
    while not files("new") and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[1]
    if process.returncode == 0:
        pytest.skip("it was quicker than the signal")
    assert (process.returncode, told) == (143, "terminated; the same command goes on from here\n")
    assert not list(PLACE.glob("parts/1-of-1/files"))


def test_who_was_killed_when_it_had_published_is_tidied_up_after(monkeypatch):
    made("1/1")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def killed(self):
            raise KeyboardInterrupt

        patch.setattr("mapengine.checkpoints.workspace.Workspace.remove", killed)
        parts.publish("out")
    assert PLACE.exists()
    assert parts.publish("out").was_finished
    assert runs.digest(Path("out")) == undisturbed()
    assert not PLACE.exists()


def test_a_link_among_the_parts_is_not_followed(folder):
    made("1/2")
    elsewhere = folder / "elsewhere"
    shutil.move(place_of(Path("out")) / "parts" / "1-of-2", elsewhere)
    (PLACE / "parts" / "1-of-2").symlink_to(elsewhere)
    before = runs.digest(elsewhere)
    assert api.run(job(), "out").kept == 0
    assert runs.digest(elsewhere) == before
