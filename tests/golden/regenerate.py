"""Records what the official script makes of every case, or checks converted folders against it.

    python tests/golden/regenerate.py [--venv DIR]
    python tests/golden/regenerate.py [--venv DIR] --check FOLDER...

The script ran last in transformers 4.45.2, so it lives in an environment of its own, made when DIR
does not exist. A folder to check has the name of its case.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden import compare, sources  # noqa: E402
from golden.cases import CASES  # noqa: E402

TORCH, TRANSFORMERS = "2.13.0", "4.45.2"
REQUIREMENTS = (
    [f"torch=={TORCH}", "numpy<2"],
    [f"transformers=={TRANSFORMERS}", "accelerate==1.0.1", "sentencepiece", "numpy<2"],
    # as much of LitGPT as its scripts import
    ["--no-deps", "litgpt==0.5.13", "lightning==2.6.6"],
    ["--no-deps", "lightning-utilities==0.15.3", "torchmetrics==1.9.0"],
)


def official_python(folder: Path) -> Path:
    """The interpreter of the environment the script runs in, made where it is missing."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for requirements in REQUIREMENTS:  # torch first: its release decides, not transformers'
            subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
    show = "import torch, transformers; print(torch.__version__, transformers.__version__)"
    found = subprocess.run([python, "-c", show], check=True, stdout=subprocess.PIPE, text=True)
    versions = [version.split("+")[0] for version in found.stdout.split()]
    if versions != [TORCH, TRANSFORMERS]:
        sys.exit(
            f"{folder}: wanted torch {TORCH} and transformers {TRANSFORMERS}, found {versions}"
        )
    return python


def loaded_configs(python: Path | str, folders: Sequence[Path]) -> tuple[str, list[dict[str, Any]]]:
    """The version of that interpreter's transformers, and each folder's config as it loads it."""
    command = [python, HERE / "load_config.py", *folders]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return answer["transformers"], [answer["configs"][str(folder)] for folder in folders]


def without_ignored(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in compare.IGNORED}


def record(python: Path) -> None:
    """Writes `digests/CASE.json` for every case, and removes the records of cases gone."""
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch, "output", name) for name in CASES]
        pairs: list[Path] = []
        for case, output in zip(CASES.values(), outputs, strict=True):
            source = sources.write_source(case, Path(scratch, "source", case.name))
            sources.write_json(source / "params.json", case.script_params)
            pairs += [source, output]
        subprocess.run([python, HERE / "run_script.py", *pairs], check=True, stdout=sys.stderr)
        _, old = loaded_configs(python, outputs)
        version, new = loaded_configs(sys.executable, outputs)
        for stale in compare.DIGESTS.glob("*.json"):
            stale.unlink()
        compare.DIGESTS.mkdir(exist_ok=True)
        every = zip(CASES.values(), outputs, old, new, strict=True)
        for case, output, config_4_45, config_5 in every:
            found = {
                "versions": {"script": TRANSFORMERS, "torch": TORCH, "config_5": version},
                "source": compare.digest_of_all(sources.weights(case)),
                "tensors": compare.digests_of(output),
                "config": compare.read_json(output / "config.json"),
                "generation_config": compare.read_json(output / "generation_config.json"),
                "config_4_45": without_ignored(config_4_45),
                "config_5": without_ignored(config_5),
            }
            sources.write_json(compare.DIGESTS / f"{case}.json", found)
    print(f"recorded {len(CASES)} cases in {compare.DIGESTS}")


def check(python: Path, folders: Sequence[Path]) -> int:
    """Prints every difference between the folders and the records; the number of lines."""
    _, old = loaded_configs(python, folders)
    version, new = loaded_configs(sys.executable, folders)
    lines = []
    for folder, config_4_45, config_5 in zip(folders, old, new, strict=True):
        wanted = compare.recorded(folder.name)
        found = compare.tensor_differences(folder, wanted)
        found += compare.file_differences(folder, wanted, "generation_config")
        found += compare.differences(config_4_45, wanted["config_4_45"])
        if version == wanted["versions"]["config_5"]:
            found += compare.differences(config_5, wanted["config_5"])
        else:  # another 5.x may know other fields, so both files are loaded with that one
            found += compare.config_differences(folder, wanted)
        lines += [f"{folder}: {line}" for line in found]
    print("\n".join([*lines, f"{len(folders)} folders, {len(lines)} differences"]))
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venv", type=Path, default=Path(".venv-4.45.2"), metavar="DIR")
    parser.add_argument("--check", type=Path, nargs="+", metavar="FOLDER")
    arguments = parser.parse_args()
    python = official_python(arguments.venv)
    if not arguments.check:
        record(python)
    elif strange := [str(folder) for folder in arguments.check if folder.name not in CASES]:
        parser.error(f"no case has the name of {', '.join(strange)}; there are {', '.join(CASES)}")
    elif check(python, [folder.resolve() for folder in arguments.check]):
        sys.exit(1)


if __name__ == "__main__":
    main()
