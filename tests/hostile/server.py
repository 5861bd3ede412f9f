"""Forks a process for each command it is told of: `process` talks to it.

It has imported all that a refusal needs, so that a command begins in a blink.
"""

import json
import os
import resource
import signal
import sys

import mapengine.checkpoints.execute
import mapengine.planning.layouts
import mapengine.report.problems
import mapengine.report.progress
import mapengine.report.units  # noqa: F401
from mapengine import api, cli

ADDRESSES = 16 * 2**30  # where a case gets out of hand, it shall not take the machine with it


def serve() -> None:
    api.load("mixtral")  # and with it, what reading a mapping imports
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (told["seconds"], told["seconds"]))
            _command(told["words"], told["cwd"], told["into"])
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(10 * told["seconds"])  # where it waits for ever, or the machine is busy
        _, status, used = os.wait4(child, 0)
        signal.alarm(0)
        done = {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": used.ru_utime + used.ru_stime,
            "memory": used.ru_maxrss * 1024,
        }
        print(json.dumps(done), flush=True)


def _command(words: list[str], cwd: str, into: str) -> None:
    for number, name in ((0, os.devnull), (1, f"{into}/stdout"), (2, f"{into}/stderr")):
        flags = os.O_CREAT | os.O_RDWR | os.O_TRUNC if number else os.O_RDONLY
        os.dup2(os.open(name, flags, 0o600), number)
    os.chdir(cwd)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    sys.argv = ["mapengine", *words]
    cli.main()


serve()
