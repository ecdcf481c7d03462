"""A plugin of pytest in the process of one experiment: it tells what happens, and waits until that is heard."""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import pytest

from eosbench.pytest_plugin.cluster.sameness import difference, facts

HANDLE = "EOSBENCH_EXPERIMENT"
"""The environment variable with the number of the pipe's end."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def pytest_configure(config: pytest.Config) -> None:
    connection = Connection(int(os.environ.pop(HANDLE)))
    os.set_inheritable(connection.fileno(), False)
    nodeids, wanted, where, parent = connection.recv()
    _die_with(parent)
    child = Child(config, connection, nodeids)
    files = [file for file in wanted.texts if os.path.isabs(file)]
    if sentence := difference(wanted, facts(files), where):
        child.tell(differs=sentence)
        pytest.exit(sentence)
    config.pluginmanager.register(child, "eosbench-child")


def _die_with(parent: int) -> None:
    """Have the system end this process with the worker; without that, at the next line that it tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        pytest.exit("the worker is gone")


class Child:
    """Runs the cases that it was given, and tells of each."""

    def __init__(self, config: pytest.Config, connection: Connection, nodeids: Sequence[str]) -> None:
        self._config = config
        self._connection = connection
        self._nodeids = nodeids

    def tell(self, **what: Any) -> None:
        """Tell a line, and wait until the scheduler has it."""
        self._connection.send(json.dumps(what, default=str))
        self._connection.recv()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        if missing := [nodeid for nodeid in self._nodeids if nodeid not in found]:
            raise pytest.UsageError(f"{missing[0]} was not collected here")
        items[:] = [found[nodeid] for nodeid in self._nodeids]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.tell(started=nodeid, location=location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tell(report=self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.tell(finished=nodeid, location=location)
