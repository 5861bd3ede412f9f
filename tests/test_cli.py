"""The commands, run as a user runs them: streams, exit codes, JSON, and what they import."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mapengine import api

MAPPING = Path(__file__).parent.parent / "mappings" / "mixtral.yaml"
BROKEN = (
    "mapengine: 1\nname: broken\nsource: {tensors: a.pt}\ntarget: {tensors: b.pt}\ntensrs: []\n"
)


def mapengine(*words, cwd, **options):
    """One command in a process of its own; its streams as text."""
    command = [sys.executable, "-m", "mapengine", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder in which the example of the mapping has been run."""
    folder = tmp_path_factory.mktemp("example")
    done = mapengine("run", MAPPING, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


HEAVY = ("torch", "transformers", "numpy", "huggingface_hub", "jsonschema", "jinja2", "xxhash",
         "rich", "einops", "yaml")  # fmt: skip
CHECKS = {"jsonschema", "huggingface_hub", "yaml"}  # a mapping is read, and its output cut
SOURCE = "mixtral-example/source"
STARTS = {
    "--help": set(),
    "--version": set(),
    "run --help": set(),
    "list": {"yaml"},
    "schema": set(),
    "rule ME301": set(),
    "cp mixtral copied.yaml": set(),
    "env": {"yaml"},
    "explain ops.split": {"yaml"},
    f"validate {MAPPING}": CHECKS,
    f"explain {MAPPING} norm.weight": CHECKS,
    f"explain {MAPPING} heads --reverse": CHECKS,
    f"graph {MAPPING}": CHECKS,
    f"diff {MAPPING} {MAPPING}": CHECKS,
    f"plan {MAPPING}": CHECKS,
    f"plan {MAPPING} -s {SOURCE}": CHECKS,
    f"report {MAPPING} -o report.html": {*CHECKS, "jinja2", "numpy"},  # it proves the example
    f"inspect {SOURCE}": {"yaml"},
    f"diff {SOURCE} {SOURCE}": {"yaml"},
    f"run {MAPPING} -s {SOURCE} -o started": {*CHECKS, "numpy", "xxhash"},
}
"""Commands, and what they may import of what is heavy: nothing else, or they start late."""


@pytest.mark.parametrize("words", STARTS)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(words, example):
    code = (
        "import sys, mapengine.cli as c\n"
        f"sys.argv = ['mapengine', *{words.split()!r}]\n"
        "assert c.invoke() == 0\n"
        f"print(*sorted({set(HEAVY)!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=example, capture_output=True, text=True, timeout=60
    )
    assert set(done.stderr.splitlines()[-1].split()) <= STARTS[words], done.stderr


@pytest.mark.parametrize("layout", ["native", "hub"])  # from safetensors, and from torch files
def test_a_run_that_only_moves_bytes_imports_no_torch(layout, tmp_path):
    mapengine("run", MAPPING, "--layout", layout, cwd=tmp_path)  # makes the source
    words = ["run", str(MAPPING), "-s", "mixtral-example/source", "-o", "converted"]
    code = (
        "import sys, mapengine.cli as c\n"
        f"sys.argv = ['mapengine', *{words!r}]\n"
        "assert c.invoke() == 0\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert (tmp_path / "converted" / "model.safetensors").is_file()


def test_importing_the_package_imports_none_of_its_rooms():
    code = (
        "import sys, mapengine; print([m for m in sys.modules if m.startswith('mapengine.')]);"
        "mapengine.load; print(mapengine.plan.__module__, callable(mapengine.verify))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "mapengine.api True"], done.stderr


def test_run_without_a_source_makes_and_converts_the_example(example):
    made = {path.name for path in (example / "mixtral-example" / "converted").iterdir()}
    beside = {"config.json", "generation_config.json", "mapengine.json", "README.md"}
    assert made == {*beside, "model.safetensors"}


def test_run_again_makes_the_example_anew(example):
    done = mapengine("run", MAPPING, cwd=example)
    assert (done.returncode, done.stdout) == (
        0,
        "69 tensors, 571 kB, 5 files → mixtral-example/converted\n",
    )


def test_an_output_that_is_there_is_not_touched_and_the_way_out_is_said(example):
    source, output = (Path("mixtral-example") / name for name in ("source", "converted"))
    words = ["run", MAPPING, "-s", source, "-o", output, "--dtype", "float32"]
    done = mapengine(*words, cwd=example)
    assert done.returncode == 2
    assert f"ME611 {output} is not empty" in done.stderr
    assert "--overwrite" in done.stderr
    assert done.stdout == ""


def test_overwrite_replaces_what_a_run_has_written(example):
    done = mapengine("run", MAPPING, "--overwrite", cwd=example)
    assert done.returncode == 0
    assert done.stdout == "69 tensors, 571 kB, 5 files → mixtral-example/converted\n"
    assert sorted(path.name for path in (example / "mixtral-example").iterdir()) == [
        "converted",
        "source",
    ]


def test_a_dry_run_shows_the_plan_and_writes_nothing(example, tmp_path):
    source = example / "mixtral-example" / "source"
    output = tmp_path / "out"
    done = mapengine("run", MAPPING, "-s", source, "-o", output, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "69 tensors" in done.stdout and "rope_permute heads kv_heads" in done.stdout
    assert not output.exists()


def test_json_goes_to_stdout_alone_and_names_its_version(example, tmp_path):
    source, converted = (example / "mixtral-example" / name for name in ("source", "converted"))
    for words in (
        ["plan", MAPPING, "--source", source],
        ["run", MAPPING, "--source", source, "--output", tmp_path / "out"],
        ["validate", MAPPING],
        ["inspect", converted],
        ["list"],
    ):
        done = mapengine(*words, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["format_version"] == "1.0", words


def test_the_plan_of_the_example_counts_and_sums(example):
    done = mapengine("plan", MAPPING, "-s", "mixtral-example/source", "--json", cwd=example)
    plan = json.loads(done.stdout)
    assert plan["layout"] == ["mistral", "native", "separate", "v4"]
    assert sum(rule["count"] for rule in plan["rules"]) == plan["totals"]["tensors"] == 69
    assert sum(shard["bytes"] for shard in plan["shards"]) == plan["totals"]["bytes_written"]
    assert plan["totals"]["bytes_read"] == plan["totals"]["bytes_written"] == 570560


def test_validate_reports_where_and_exits_with_1(tmp_path):
    (tmp_path / "broken.yaml").write_text(BROKEN)
    done = mapengine("validate", "broken.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "broken.yaml:5:1: ME202 unknown word 'tensrs'",
        "  |",
        "5 | tensrs: []",
        "  | ^^^^^^",
        "  = help: did you mean 'tensors'?",
        "1 problem in 1 of 1 file",
    ]


def test_validate_takes_a_folder_and_a_real_source(example):
    done = mapengine("validate", MAPPING.parent, cwd=example)
    assert done.returncode == 0 and done.stdout.endswith("good\n")
    done = mapengine("validate", MAPPING, "--source", "mixtral-example/source", cwd=example)
    assert (done.returncode, done.stdout) == (0, "1 mapping good\n")
    done = mapengine("validate", MAPPING, "--source", "mixtral-example/converted", cwd=example)
    assert done.returncode == 1 and "ME420 no layout fits" in done.stdout


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["run", "nope"], 2, "ME107 there is no mapping 'nope'"),
        (["run", "mixtrel"], 2, "did you mean 'mixtral'?"),
        (["plan", MAPPING, "--source", "absent"], 2, "ME501 absent: No such file or directory"),
        (["run", MAPPING, "--source", "."], 2, "--output is missing"),
        (["run", MAPPING, "--max-shard-size", "many"], 2, "'many' is not a size"),
        (["run", MAPPING, "--set", "x"], 2, "'x' is not NAME=VALUE"),
        (["run", MAPPING, "--set", "x=[1"], 2, "'x=[1'"),
        (["plan", MAPPING, "--set", "hiden=64", "-s", "."], 1, "hid"),
        (["run", MAPPING, "--layout", "hup"], 1, "no layout 'hup'"),
        (["frob"], 2, "No such command 'frob'"),
        (["verify", "absent"], 2, "absent"),
        (["inspect", "absent"], 2, "absent"),
        (["validate"], 2, "Missing argument"),
        (["validate", "absent.yaml"], 1, "absent.yaml"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_a_line_without_a_traceback(words, code, said, tmp_path):
    done = mapengine(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_json_is_json_too(tmp_path):
    done = mapengine("plan", MAPPING, "--source", "absent", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"][0]["code"] == "ME501"


def test_set_values_are_read_as_yaml(example, tmp_path):
    source = example / "mixtral-example" / "source"
    words = ["run", MAPPING, "-s", source, "-o", tmp_path / "o", "--set", "theta=5e5"]
    assert mapengine(*words, "--dtype", "float32", cwd=tmp_path).returncode == 0
    config = json.loads((tmp_path / "o" / "config.json").read_text())
    assert (config["rope_theta"], config["torch_dtype"]) == (500000.0, "float32")
    receipt = json.loads((tmp_path / "o" / "mapengine.json").read_text())
    assert receipt["options"]["set"] == {"theta": 500000.0}


@pytest.mark.parametrize(
    "number, code, said",
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_leaves_what_the_next_run_goes_on_from(number, code, said, tmp_path):
    program = (
        "import signal, sys, time, mapengine.cli as c, mapengine.checkpoints.gather as g\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` ignores it
        "inner = g.Reader.fill\n"
        "def slow(*a):\n"
        "    sys.stdout.write('at work\\n'); sys.stdout.flush()\n"
        "    time.sleep(0.3); inner(*a)\n"
        "g.Reader.fill = slow\n"
        f"sys.argv = ['mapengine', 'run', {str(MAPPING)!r}]\n"
        "c.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at work\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"{said}; the same command goes on from here" in stderr and "Traceback" not in stderr
    home = tmp_path / "mixtral-example"
    assert {path.name for path in home.iterdir()} == {"source", ".converted.mapengine"}
    done = mapengine("run", MAPPING, cwd=tmp_path)
    assert done.returncode == 0 and "1 shard of an interrupted run kept" in done.stderr
    assert {path.name for path in home.iterdir()} == {"source", "converted"}


def test_control_characters_in_names_are_escaped(tmp_path):
    folder = tmp_path / "red\x1b[31m"
    done = mapengine("inspect", folder, cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr and r"red\x1b[31m" in done.stderr


def test_options_are_taken_from_the_environment(example, tmp_path):
    environment = {**os.environ, "MAPENGINE_RUN_MAX_SHARD_SIZE": "100KB"}
    source = example / "mixtral-example" / "source"
    words = ["run", MAPPING, "-s", source, "-o", tmp_path / "o"]
    assert mapengine(*words, cwd=tmp_path, env=environment).returncode == 0
    assert (tmp_path / "o" / "model.safetensors.index.json").is_file()


def test_the_printed_schema_is_the_one_beside_the_package(tmp_path):
    kept = Path(__file__).parent.parent / "mapengine" / "mapping.schema.json"
    assert mapengine("schema", cwd=tmp_path).stdout == kept.read_text()
    assert mapengine("schema", "--check", kept, cwd=tmp_path).returncode == 0
    (tmp_path / "old.json").write_text("{}")
    assert mapengine("schema", "--check", "old.json", cwd=tmp_path).returncode == 1


def test_env_tells_versions_and_no_value_of_a_variable(tmp_path):
    done = mapengine("env", cwd=tmp_path, env={**os.environ, "MAPENGINE_SECRET": "hf_0123"})
    rows = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert rows["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert {"mapengine", "torch", "transformers", "libyaml", "memory"} <= rows.keys()
    assert "MAPENGINE_SECRET" in rows["variables"] and "hf_0123" not in done.stdout


@pytest.mark.parametrize(
    "words, offered",
    [
        ("mapengine va", "plain,validate"),
        ("mapengine run mixt", "plain,mixtral"),
        ("mapengine rule me30", "plain,ME301"),
        ("mapengine validate --format sa", "plain,sarif"),
    ],
)
def test_the_shell_completes(words, offered, tmp_path):
    code = "import sys; sys.argv[0] = 'mapengine'; from mapengine.cli import main; main()"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, "_MAPENGINE_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
    )
    assert offered in done.stdout.splitlines()


def test_a_mapping_that_ships_can_be_copied(tmp_path):
    assert mapengine("cp", "mixtral", "mine.yaml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "mine.yaml").read_bytes() == MAPPING.read_bytes()
    again = mapengine("cp", "mixtral", "mine.yaml", cwd=tmp_path)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert mapengine("cp", "mixtral", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "mixtral.yaml").is_file()
    wrong = mapengine("cp", "mixtrl", ".", cwd=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'mixtral'?" in wrong.stderr
    assert mapengine("cp", "mixtral", "absent/mine.yaml", cwd=tmp_path).returncode == 2


def test_a_command_that_is_none_is_answered_with_the_nearest(tmp_path):
    done = mapengine("plna", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'plan'?" in done.stderr


def test_the_list_has_the_titles_of_all_mappings(tmp_path):
    listed = json.loads(mapengine("list", "--json", cwd=tmp_path).stdout)["mappings"]
    assert [one["name"] for one in listed] == list(api.shipped_mappings())
    assert all(api.load(one["file"]).title == one["title"] for one in listed)
