"""What is fetched from an object store, and what it takes: ranges, bytes, memory.

python -m benchmarks.elsewhere --size 300MB
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.bench import MAPPING
from benchmarks.checkpoints import LAYOUTS, model_of, write
from mapengine.report.units import parse_size

_BUCKET = "models"
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
                "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


@click.command()
@click.option(
    "--size",
    default="300MB",
    show_default=True,
    help="Of each checkpoint; moto reads all of a file for each range of it.",
)
@click.option("--memory", default="512MB", show_default=True, help="What a run may allocate.")
@click.option("--one", hidden=True, help="Convert this URL, and print what that came to.")
def main(size: str, memory: str, one: str | None) -> None:
    """Convert checkpoints from moto's server, and to it: a line for each layout."""
    if one:
        click.echo(json.dumps(_converted(one, parse_size(memory))))
        return
    click.echo("layout    requests a GB  headers        fetched/needed  resident   from   to")
    with tempfile.TemporaryDirectory() as folder, _server() as url:
        os.environ.update(_CREDENTIALS, AWS_ENDPOINT_URL=url)
        for layout in LAYOUTS:
            click.echo(_line(layout, parse_size(size), memory, Path(folder)))


class _server:  # noqa: N801  (reads as a verb where it is used)
    """moto's server, in a process of its own: its memory and its time are not ours."""

    def __enter__(self) -> str:
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5757"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(5)
        return "http://127.0.0.1:5757"

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def _line(layout: str, size: int, memory: str, folder: Path) -> str:
    import boto3

    client: Any = boto3.client("s3")
    client.create_bucket(Bucket=_BUCKET)
    source = write(model_of(size), layout, folder / layout)
    for path in source.iterdir():
        client.upload_file(str(path), _BUCKET, f"{layout}/{path.name}")
        path.unlink()
    words = [sys.executable, "-m", "benchmarks.elsewhere", "--memory", memory]
    done = subprocess.run([*words, "--one", f"s3://{_BUCKET}/{layout}"], capture_output=True)
    told = json.loads(done.stdout)
    _empty(client)
    return (
        f"{layout}  {told['requests'] / told['needed'] * 10**9:13.0f}"
        f"  {told['header_requests']:3} {told['header_bytes'] / 10**6:6.2f} MB"
        f"  {told['bytes'] / told['needed']:13.4f}  {told['resident'] / 10**6:6.0f} MB"
        f"  {told['from']:5.1f} s {told['to']:5.1f} s"
    )


def _empty(client: Any) -> None:
    for entry in client.list_objects_v2(Bucket=_BUCKET).get("Contents", []):
        client.delete_object(Bucket=_BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=_BUCKET)


def _converted(url: str, memory: int) -> dict[str, float]:
    """What the requests for ranges came to, of a plan and of the run."""
    import mapengine
    from mapengine.checkpoints.remote import RemoteFolder

    asked: list[int] = []
    fetch = RemoteFolder._range

    def counted(self: RemoteFolder, entry: Any, start: int, end: int) -> bytes:
        asked.append(end - start)
        return fetch(self, entry, start, end)

    RemoteFolder._range = counted  # type: ignore[method-assign]
    job = mapengine.Job(MAPPING, url)
    plan = mapengine.plan(job)
    headers = list(asked)
    asked.clear()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        mapengine.run(job, Path(folder) / "out", planned=plan, memory=memory, sync=False)
        middle = time.perf_counter()
    requests, fetched = len(asked), sum(asked)
    mapengine.run(job, f"{url}-made", planned=plan, memory=memory)
    return {
        "requests": requests, "bytes": fetched, "needed": plan.bytes_read,
        "header_requests": len(headers), "header_bytes": sum(headers),
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "from": middle - start, "to": time.perf_counter() - middle,
    }  # fmt: skip


if __name__ == "__main__":
    main()
