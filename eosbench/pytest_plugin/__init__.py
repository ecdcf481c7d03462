"""The pytest plugin: cases and controls become pytest items, and their evidence a results file and a report.

It stays out of the way, and touches neither JAX nor its precision, until a collected file states a claim.

1. `collection` makes the items where a module is collected.
2. `attempt` runs one case, and lets its evidence travel with pytest's own reports.
3. `session` follows the run, on the controller of pytest-xdist if there are workers; `recorder` writes the results file
   as cases end, `progress` tells of it, and `scheduling` keeps the cases of one experiment on one worker; `kept` finds
   what need not run again, and `cluster` has cases run by the workers of a Dask cluster.
4. In the end the verdicts are reached there, once, from the results file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eosbench.extras import missing_dask
from eosbench.pytest_plugin.attempt import ATTEMPT
from eosbench.pytest_plugin.attempt import pytest_pyfunc_call as pytest_pyfunc_call
from eosbench.pytest_plugin.attempt import pytest_runtest_makereport as pytest_runtest_makereport
from eosbench.pytest_plugin.attempt import pytest_runtest_setup as pytest_runtest_setup
from eosbench.pytest_plugin.collection import CASE, PLAN
from eosbench.pytest_plugin.collection import pytest_make_collect_report as pytest_make_collect_report
from eosbench.pytest_plugin.collection import pytest_pycollect_makeitem as pytest_pycollect_makeitem
from eosbench.pytest_plugin.collection import pytest_pycollect_makemodule as pytest_pycollect_makemodule
from eosbench.pytest_plugin.kept import KEPT_FILES, Kept, name_of, unchanged
from eosbench.pytest_plugin.recorder import Plan
from eosbench.pytest_plugin.session import Session, WorkerSession, XdistController, require_writable

if TYPE_CHECKING:
    from eosbench.evidence import Evidence


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("eosbench", "claims about gradient descent (eosbench)")
    group.addoption(
        "--claims-report",
        metavar="DIR",
        default=None,
        help="directory of the claim-status report (default: claims-report); a subset of the claims reports into "
        "DIR/partial",
    )
    group.addoption(
        "--claims-progress",
        action="store_true",
        help="a line for each claim as it is taken up and decided, in place of a letter for each case",
    )
    group.addoption(
        "--claims-dtype",
        choices=("float64", "float32"),
        default="float64",
        help="precision of JAX while claims run (default: float64)",
    )
    group.addoption(
        "--claims-scale",
        choices=("small", "paper"),
        default="small",
        help="size of the experiments that have two: small, or that of the paper, which may need data and a GPU "
        "(default: small)",
    )
    group.addoption(
        "--claims-only",
        action="append",
        metavar="CLAIM",
        default=[],
        help="run this claim alone; may be given several times (-k matches parts of names)",
    )
    group.addoption(
        "--claims-changed",
        action="store_true",
        help="run the files of claims that changed since the last full report, or whatever they rest on, and keep what "
        "it says of the others",
    )
    group.addoption(
        "--claims-dask",
        metavar="ADDRESS",
        default=None,
        help="run the cases on the workers of the Dask cluster whose scheduler has this address",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of claims that are kept."""
    kept = config.stash.get(KEPT_FILES, ())
    return True if kept and name_of(collection_path, config.rootpath) in kept else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = config.getoption("--claims-only")
    if not only:
        return
    chosen = [item for item in items if CASE in item.stash and item.stash[CASE][0].claim.id in only]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--claims-report")
    directory = config.invocation_params.dir / (given or "claims-report")
    worker = hasattr(config, "workerinput")
    if given and not worker and not config.option.collectonly:
        require_writable(directory)
    # Of programs that JAX keeps: what cannot be read or written is compiled, which is no fault of a claim.
    config.addinivalue_line("filterwarnings", "ignore:Error (read|writ)ing persistent compilation cache:UserWarning")
    plan = config.stash[PLAN] = Plan()
    if worker:
        config.stash[KEPT_FILES] = config.workerinput["eosbench_kept"]  # type: ignore[attr-defined]
        config.pluginmanager.register(WorkerSession(config, plan), "eosbench-worker")
        return
    kept = unchanged(config, directory) if config.getoption("--claims-changed") else Kept()
    config.stash[KEPT_FILES] = list(kept.files)
    session = Session(config, directory, plan, kept)
    config.pluginmanager.register(session, "eosbench-session")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistController(session), "eosbench-xdist")
    if (address := config.getoption("--claims-dask")) and not config.option.collectonly:
        if sentence := missing_dask():
            raise pytest.UsageError(sentence)
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--claims-dask and -n: give one of them, for cases run on a cluster or here")
        if config.option.usepdb:
            raise pytest.UsageError("--claims-dask and --pdb: a debugger needs the case in this process; leave one out")
        from eosbench.pytest_plugin.cluster.controller import Cluster

        config.pluginmanager.register(Cluster(address, plan), "eosbench-cluster")


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> "Evidence":
    """The record of this case: what its check measures and compares."""
    from eosbench.evidence import Evidence

    if CASE not in request.node.stash:
        pytest.fail("`evidence` is for the checks of a claim; decorate the function with @claim.check(...)", False)
    check, case = request.node.stash[CASE]
    attempt = request.node.stash[ATTEMPT]
    attempt.evidence = Evidence(check.claim, case, request.config.getoption("--claims-scale"))
    return attempt.evidence
