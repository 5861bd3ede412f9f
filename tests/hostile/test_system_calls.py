"""What hostile input makes the system do, by strace: nothing runs, nothing elsewhere is opened."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from formats import test_torch_hostile as contents
from formats.pickles import LEGACY_HEAD, SYSTEM_INFO, holding, pickled
from reliability.runs import environment

from hostile.folders import SAFETENSORS, TORCH, good, write
from hostile.process import ROOT
from hostile.test_checkpoints import with_keys

_works = (
    shutil.which("strace")
    and not subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True
    ).returncode
)
pytestmark = pytest.mark.skipif(not _works, reason="strace is not here, or may not trace")

CALLS = "%file,execve,execveat,fork,vfork,clone,clone3,connect,socket"
OPENED = re.compile(r'(?:open|openat|openat2|creat)\((?:AT_FDCWD, |\d+, )?"((?:[^"\\]|\\.)*)"')
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so", "/proc/", "/sys/", "/dev/null", "/dev/urandom",
          "/etc/localtime", "/etc/mime.types")  # fmt: skip

INDEXED = '{"weight_map": {"x": "%s"}}'
CASES = {
    "good": {TORCH: good(TORCH)},
    "a pickle that runs a command": {TORCH: holding(contents.ATTACK)},
    "a stream that runs a command": {TORCH: LEGACY_HEAD + SYSTEM_INFO + pickled(contents.ATTACK)},
    "a payload under another name": {SAFETENSORS: holding(contents.ATTACK)},
    "a storage key that climbs": {TORCH: holding(contents.MEANING["storage key that climbs"])},
    "a key that is a path": {SAFETENSORS: with_keys("../../hostile", "/tmp/hostile")},
    "an index that climbs": {
        "model-00001-of-00001.safetensors": good(SAFETENSORS),
        "model.safetensors.index.json": (INDEXED % "../../hostile").encode(),
    },
    "an index that leads to the root": {
        "model-00001-of-00001.safetensors": good(SAFETENSORS),
        "model.safetensors.index.json": (INDEXED % "/etc/shadow").encode(),
    },
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_run_and_nothing_else_is_opened(case, tmp_path):
    files = CASES[case]
    write(tmp_path, files, tensor_files=TORCH if TORCH in files else SAFETENSORS)
    trace = tmp_path / "trace"
    command = ["mapengine", "run", "small.yaml", "-s", "source", "-o", "out"]
    done = subprocess.run(
        ["strace", "-f", "-e", f"trace={CALLS}", "-o", str(trace), sys.executable, "-m", *command],
        cwd=tmp_path, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert (done.returncode == 0) == (case == "good"), done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    assert sum("execve(" in line for line in lines) == 1, "only the interpreter itself"
    assert not [line for line in lines if re.search(r"connect\(|fork\(", line)]
    assert not [line for line in lines if "clone" in line and "CLONE_THREAD" not in line]
    allowed = (*SYSTEM, str(tmp_path), str(ROOT), *interpreter())
    found = [one[1] for line in lines if (one := OPENED.search(line))]
    opened = {os.path.normpath(tmp_path / name) for name in found}  # relative to its folder
    assert [name for name in opened if not name.startswith(allowed)] == []
    assert not [name for name in opened if name.startswith(str(tmp_path)) and "hostile" in name]
    if case == "good":
        assert str(tmp_path / "source/model.pt") in opened


def interpreter():
    """Where Python and its packages lie."""
    return {sys.prefix, sys.base_prefix, *(path for path in sys.path if path)}
