"""What a worker of Dask does: it runs the cases of one experiment in a process of their own, and passes on its lines.

A process for each experiment, since JAX, its precision and its memory belong to a process and a worker may have several
threads; and so that a case which takes its process along takes no worker.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from distributed import Event, get_client, get_worker
from distributed.comm import get_address_host

from eosbench.pytest_plugin.cluster.child import HANDLE
from eosbench.pytest_plugin.cluster.sameness import Facts
from eosbench.pytest_plugin.recorder import last_line, machine

CHILD = "eosbench.pytest_plugin.cluster.child"
FACTS = "eosbench.pytest_plugin.cluster.sameness"

LOST = "was lost"
"""How a task ended whose worker is gone."""

_LOOK = 1.0  # seconds between two looks at whether a silent process is still there, and still wanted
_GRACE = 10.0  # seconds that a process may take to end that has told its last line


class Job(NamedTuple):
    """What the process of an experiment is to do.

    Attributes:
        folder: where it runs, as the controller does.
        arguments: those of pytest, with the files of the cases.
        nodeids: the cases, in the order in which they run.
        facts: what the process must have.
    """

    folder: str
    arguments: list[str]
    nodeids: list[str]
    facts: Facts


def run(job: Job, key: str, topic: str) -> None:
    """The task with this key: run the cases; tell each line of their process, and how it ended, under this topic.

    Dask runs a task again whose worker was lost. Then nothing is run here, and just that is told: the controller knows
    what was begun and what is left, for the scheduler has every line before the process goes on.
    """
    client, worker, begun = get_client(), get_worker(), Event(key)

    def tell(**what: str) -> None:
        client.log_event(topic, {"task": key, "worker": worker.address, **what})

    def wanted() -> bool:
        """Not if the controller called the task off, or is gone; Dask stops no thread for that."""
        task = worker.state.tasks.get(key)
        return task is not None and task.state in ("executing", "long-running")

    if begun.is_set():
        tell(ended=LOST)
        return
    begun.set()
    tell(begun="")
    with (
        tempfile.TemporaryDirectory(prefix="eosbench-", ignore_cleanup_errors=True) as own,
        Path(own, "output").open("w+b") as output,
    ):
        ours, theirs = Pipe()
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", CHILD, *job.arguments],
                cwd=job.folder,
                env=_environment(client.nthreads(), worker.address) | {HANDLE: str(theirs.fileno()), "TMPDIR": own},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what a case starts can be ended with it
            )
            theirs.close()
            try:
                for line in _lines(ours, process, job, worker.address, wanted):
                    tell(line=line)
                if wanted():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_GRACE)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
        output.seek(0)
        if wanted():
            tell(ended=_ending(status, output.read().decode(errors="replace")))


async def facts_there(folder: str, files: list[str]) -> Facts:
    """What the process of an experiment would have here.

    Raises:
        RuntimeError: there can be no such process.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            FACTS,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as problem:
        raise RuntimeError(f"{problem.strerror}: {folder}") from None
    told, complaint = await process.communicate(json.dumps(files).encode())
    if process.returncode:
        raise RuntimeError(last_line(complaint.decode(errors="replace")))
    return Facts(*json.loads(told))


def _lines(
    connection: Connection, process: subprocess.Popen[Any], job: Job, where: str, wanted: Callable[[], bool]
) -> Iterator[str]:
    """What the process tells, until it ends or is not wanted; it goes on when the next line is asked for."""
    with contextlib.suppress(EOFError, ConnectionError):
        connection.send((job.nodeids, job.facts, where, os.getpid()))
        while wanted():
            if connection.poll(_LOOK) or (process.poll() is not None and connection.poll()):
                yield connection.recv()
                connection.send("heard")
            elif process.poll() is not None:
                return


def _environment(threads: dict[str, int], address: str) -> dict[str, str]:
    """The worker's own. Where it does not say, a process gets its share of the cores, and dense eigensolvers one.

    As many processes run at a time on this host as its workers have threads.
    """
    host = get_address_host(address)
    cores = max(1, machine()["cpus"] // sum(n for other, n in threads.items() if get_address_host(other) == host))
    shares = {"NPROC": str(cores), "OPENBLAS_NUM_THREADS": "1"}  # the first is read by XLA
    return shares | os.environ | {"PYTEST_ADDOPTS": ""}  # the options are the controller's


def _ending(status: int, output: str) -> str:
    if status < 0:
        return f"ended with {signal.Signals(-status).name}"
    return f"ended with status {status}: {last_line(output)}"
