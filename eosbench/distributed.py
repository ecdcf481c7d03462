"""Several processes: JAX's one call, and an end of all of them with one sentence when one is lost.

When a process is lost, JAX aborts the others with a stack of C++ that names no remedy, from a thread of its own, and by
Python nothing can be done about it: the process that waits for the lost one is in compiled code. So what a process says
on its standard error goes through a small process beside it (`_watch`), which has the sentence in place of the stack.
"""

import atexit
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

HEARTBEAT_SECONDS = 10
"""How long a process may be silent until it counts as lost; JAX's own default is 100."""

_HOLD_SECONDS = 5.0  # between JAX's first line about a loss and the one with which it aborts are milliseconds
_ABOUT_A_LOSS = re.compile(
    rb"^[WEF]\d{4} [\d:.]+ +\d+ (coordination_service|coordination_service_agent|preemption_sync_manager|client)\.",
    re.MULTILINE,
)
_ABORTED = "Terminating process because the JAX distributed service detected fatal errors"
_SILENT = re.compile(r"stopped sending heartbeats\):\n(.*?)\nThe tasks have crashed", re.DOTALL)
_STATUS = re.compile(r"[A-Z_]{4,}: ")  # how JAX begins what its compiled code told; of which class it is, differs
_NO_ANSWER = re.compile(r"UNAVAILABLE|DEADLINE_EXCEEDED|grpc_status")


def initialize(checkpoint: str | Path | None = None, **arguments: Any) -> None:
    """Call it in the place of `jax.distributed.initialize`, in each process, before anything is computed.

    When a process is lost, each other one ends by SIGABRT (134 in a shell) with one sentence on its standard error that
    names the lost one and the checkpoint. Where the host of process 0 is lost, it is at once; else within
    `heartbeat_timeout_seconds`, here 10 where nothing else is given. A process that ends by an exception does not wait
    for the others, which end in the same way.

    Args:
        checkpoint: the file that `save_state` writes, for the sentence.
        arguments: of `jax.distributed.initialize`, which needs none under Slurm and Open MPI.

    Raises:
        RuntimeError, ValueError: JAX's own, where it is called too late, or not told enough.
    """
    import jax

    jax.distributed.initialize(**{"heartbeat_timeout_seconds": HEARTBEAT_SECONDS} | arguments)
    reading, writing = os.pipe()
    told = [str(jax.process_index()), "" if checkpoint is None else os.path.abspath(checkpoint)]
    subprocess.Popen([sys.executable, "-I", __file__, *told], stdin=reading, stdout=subprocess.DEVNULL)
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
    _leave_after_exceptions(arguments.get("heartbeat_timeout_seconds", HEARTBEAT_SECONDS))


def _leave_after_exceptions(heartbeat: float) -> None:
    before, failed = sys.excepthook, []

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if _STATUS.match(str(error)):  # perhaps a message that did not come: by then JAX knows who was lost, and aborts
            time.sleep(1.5 * heartbeat)
        before(kind, error, traceback)
        failed.append(error)

    def leave() -> None:
        if failed:
            sys.stdout.flush()
            sys.stderr.flush()
            # JAX, whose turn at the exit comes after this, would wait for the others, as they do for this one.
            os._exit(1)

    sys.excepthook = tell
    atexit.register(leave)


def _sentence(process: str, checkpoint: str, told: str) -> str:
    """What is said in the place of what JAX told."""
    silent = _SILENT.search(told)
    names = re.findall(r"\d+$", silent[1], re.MULTILINE) if silent else ["0"] if _NO_ANSWER.search(told) else []
    if not names:
        lost = "another process was lost, JAX does not say which"
    elif len(names) == 1:
        lost = f"process {names[0]} was lost"
    else:
        lost = f"processes {', '.join(names)} were lost"
    if not checkpoint:
        rest = "start all of them again, from the beginning, for no checkpoint was named"
    elif not os.path.exists(checkpoint):
        rest = f"start all of them again, from the beginning, for {checkpoint} was not written yet"
    else:
        rest = f"start all of them again, to continue from {checkpoint}"
    return f"eosbench: {lost}, and so process {process} ends: {rest}.\n"


def _watch(process: str, checkpoint: str, source: int = 0, target: int = 2) -> None:
    """Pass on what comes, but in the place of JAX's last words the sentence."""
    held, since = b"", 0.0
    while True:
        aborted = _ABORTED.encode() in held
        left = max(0.0, since + _HOLD_SECONDS - time.monotonic()) if held and not aborted else None
        came = os.read(source, 1 << 16) if select.select([source], [], [], left)[0] else None
        if came == b"" and aborted:
            held = _sentence(process, checkpoint, held.decode(errors="replace")).encode()
        if not came:
            os.write(target, held)
            held = b""
            if came == b"":
                return
        elif held:
            held += came
        else:
            found = _ABOUT_A_LOSS.search(came)
            at = found.start() if found else len(came)
            os.write(target, came[:at])
            held, since = came[at:], time.monotonic()


if __name__ == "__main__":
    import signal

    for sent in (signal.SIGINT, signal.SIGTERM):  # meant for the process whose words these are, and which says its last
        signal.signal(sent, signal.SIG_IGN)
    _, own_number, named = sys.argv
    _watch(own_number, named)
