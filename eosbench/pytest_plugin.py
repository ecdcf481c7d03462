"""The pytest plugin: cases and controls become pytest items, and their evidence a results file and a report.

It stays out of the way, and touches neither JAX nor its precision, until a collected file states a claim. The items are
made where a module is collected; the evidence travels with pytest's own reports, so that it reaches the controller of
pytest-xdist as each case ends; the verdicts are reached there, once, from the results file.
"""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from eosbench import catalogue, verdict
from eosbench.claim import Case, Check, Claim, ClaimError, EvidenceError, check_of
from eosbench.progress import Progress
from eosbench.recorder import Plan, Recorder

if TYPE_CHECKING:
    from eosbench.evidence import Evidence

_CASE = pytest.StashKey[tuple[Check, Case]]()
_EVIDENCE = pytest.StashKey["Evidence"]()
_READING = pytest.StashKey[verdict.Reading]()
_PLAN = pytest.StashKey[Plan]()
_OUTCOME = "eosbench_outcome"  # an attribute of reports: pytest-xdist sends it along, --junitxml leaves it out


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = config.getoption("--claims-only")
    if not only:
        return
    chosen = [item for item in items if _CASE in item.stash and item.stash[_CASE][0].claim.id in only]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--claims-report")
    directory = config.invocation_params.dir / (given or "claims-report")
    worker = hasattr(config, "workerinput")
    if given and not worker and not config.option.collectonly:
        _require_writable(directory)
    plan = config.stash[_PLAN] = Plan()
    if worker:
        config.pluginmanager.register(WorkerSession(config, plan), "eosbench-worker")
        return
    session = Session(config, directory, plan)
    config.pluginmanager.register(session, "eosbench-session")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistController(session), "eosbench-xdist")


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> "Evidence":
    """The record of this case: what its check measures and compares."""
    from eosbench.evidence import Evidence

    if _CASE not in request.node.stash:
        pytest.fail("`evidence` is for the checks of a claim; decorate the function with @claim.check(...)", False)
    check, case = request.node.stash[_CASE]
    scale = request.config.getoption("--claims-scale")
    return request.node.stash.setdefault(_EVIDENCE, Evidence(check.claim, case, scale))


# --- collection ------------------------------------------------------------------------------------------------------


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Decide the precision before a module that states claims is imported."""
    if catalogue.states_claims(module_path):
        if hasattr(parent.config, "workerinput"):
            # Dense eigensolvers of several workers, each with a thread for every core, slow each other down tenfold.
            # JAX calls SciPy's, which reads this when it is first imported.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

        import jax

        jax.config.update("jax_enable_x64", parent.config.getoption("--claims-dtype") == "float64")
        jax.config.update("jax_default_matmul_precision", "highest")


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> list[pytest.Item] | None:
    """The items of a check: one for every case, control and counterexample."""
    if not isinstance(collector, pytest.Module):
        return None
    if isinstance(obj, Claim):
        _require_in_reach(collector, obj)
        collector.config.stash[_PLAN].add_claim(obj, _path_of(collector))
        return []
    check = check_of(obj)
    if check is None:
        if name.startswith("test") and callable(obj) and _claims_of(collector.obj):
            raise ClaimError(
                f"{name} belongs to no claim; decorate it with @claim.check(...), or move it to a file without claims"
            )
        return None
    if check.claim not in _claims_of(collector.obj):
        raise check.claim.error(f"{name} checks a claim that this file does not hold in a variable; assign it to one")
    return [_item(collector, name, check, case) for case in check.cases]


def _require_in_reach(collector: pytest.Module, claim: Claim) -> None:
    """A claim that the syntax tree does not show, or a check that the module does not hold, would be lost silently."""
    if not catalogue.states_claims(collector.path):
        raise claim.error("write `name = Claim(...)` at module level, where its precision is decided before the import")
    imported = getattr(collector.obj, "__file__", None)
    if imported and not os.path.samefile(imported, collector.path):
        raise claim.error(
            f"{imported} was imported in place of this file, since both are the module {collector.obj.__name__}; run "
            "them one after the other"
        )
    for check in claim.checks:
        name = check.function.__name__
        if check_of(vars(collector.obj).get(name)) is not check:
            raise claim.error(f"{name} is not the function of this name in its module; is it there twice, or nested?")


def _item(collector: pytest.Module, name: str, check: Check, case: Case) -> pytest.Item:
    if any(mark.name == "parametrize" for mark in getattr(check.function, "pytestmark", ())):
        raise check.claim.error(f"{name} has a mark `parametrize`; give the values to check(...) as a grid")
    bound = functools.partial(check.function, **case.params)
    bound.__dict__.update(vars(check.function))  # its marks
    label = f"{name}[{case.label}]" if case.label else name
    item: pytest.Item = pytest.Function.from_parent(collector, name=label, callobj=bound)
    item.stash[_CASE] = (check, case)
    item.extra_keyword_matches.update({check.claim.id, case.role})
    collector.config.stash[_PLAN].add_case(item.nodeid, name, check.claim, case)
    return item


def _claims_of(module: ModuleType) -> list[Claim]:
    return [value for value in vars(module).values() if isinstance(value, Claim)]


def _path_of(collector: pytest.Collector) -> str:
    return collector.nodeid.partition("::")[0]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, pytest.CollectReport]:
    """A claim that is stated wrongly is reported in one sentence, not with a traceback."""
    report = yield
    call = getattr(report, "call", None)
    if call is not None and call.excinfo is not None and isinstance(call.excinfo.value, ClaimError):
        report.longrepr = f"{_path_of(collector)}: {call.excinfo.value}"
    return report


# --- one case --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """A case passes when its reading is one with which the claim can still reach the expected verdict."""
    if _CASE not in pyfuncitem.stash:
        return (yield)
    from eosbench.evidence import OutOfScope

    try:
        result = yield
    except OutOfScope as reason:
        pytest.skip(str(reason))
    except pytest.skip.Exception:
        if any(record["kind"] != "requires" for record in pyfuncitem.stash[_EVIDENCE].records):
            raise EvidenceError("pytest.skip() comes after a comparison, which it would hide; call it first") from None
        raise
    check, case = pyfuncitem.stash[_CASE]
    records = pyfuncitem.stash[_EVIDENCE].records
    try:
        reading = verdict.read(records, case.role)
    except ValueError as problem:
        raise EvidenceError(f"{check.function.__name__}: {problem}") from None
    pyfuncitem.stash[_READING] = reading
    wanted = verdict.wanted(case.role, check.claim.expected)
    if reading not in wanted:
        pytest.fail(
            f"{check.claim.id}: this {case.role} reads {reading} where {' or '.join(wanted)} was expected. "
            f"{verdict.explain(records, reading)}.",
            pytrace=False,
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the evidence travel with the report, also that of a check which failed half-way."""
    if _CASE not in item.stash or call.when != "call":
        return (yield)
    recorded = item.stash.get(_EVIDENCE, None)
    outcome = {
        **_outcome(item, call),
        "seconds": call.duration,
        "products": recorded.products if recorded else 0,
        "records": recorded.records if recorded else [],
        "series": recorded.curves if recorded else [],
    }
    report = yield
    setattr(report, _OUTCOME, outcome)
    if call.excinfo is not None and isinstance(call.excinfo.value, EvidenceError):
        report.longrepr = f"{item.nodeid}: {call.excinfo.value}"
    return report


def _outcome(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, Any]:
    if _READING in item.stash:
        return {"status": "completed", "reading": item.stash[_READING], "message": ""}
    raised = call.excinfo.value if call.excinfo is not None else None
    message = str(raised).partition("\n")[0]
    if isinstance(raised, pytest.skip.Exception):
        status = "skipped"
    else:
        status = "timeout" if isinstance(raised, TimeoutError) else "error"
        message = message if isinstance(raised, EvidenceError) else f"{type(raised).__name__}: {message}"
    return {"status": status, "reading": None, "message": message}


# --- the run ---------------------------------------------------------------------------------------------------------


class WorkerSession:
    """A worker of pytest-xdist: it collects, and hands the plan to the controller through a file."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self.plan = plan
        self._file = Path(config.workerinput["eosbench_plan"])  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.plan.finish(session.items)
        if self.plan.claims:
            unfinished = self._file.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(self.plan.lines()), encoding="utf-8")
            unfinished.replace(self._file)


class Session:
    """The process that reaches the verdicts: a serial run, or the controller of pytest-xdist."""

    def __init__(self, config: pytest.Config, directory: Path, plan: Plan) -> None:
        self.plan = plan
        self.plan_file: Path | None = None
        self.recorder: Recorder | None = None
        self._progress: Progress | None = None
        self._config = config
        self._directory = directory
        self._collect_errors: list[dict[str, Any]] = []
        self._failures = 0
        self._interrupted = False
        self._summary = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.plan.finish(session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            message = report.longreprtext.strip().splitlines()
            self._collect_errors.append(
                {"type": "collect error", "file": report.nodeid, "message": message[-1] if message else "failed"}
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Open the results file when the first item starts: nothing is written where nothing runs."""
        if self.recorder is None:
            lines = self._planned()
            if any(line["type"] == "claim" for line in lines):
                _require_writable(self._directory)
                self.recorder = Recorder(self._config, self._directory, lines + self._collect_errors)
                if self._config.getoption("--claims-progress"):
                    terminal = self._config.pluginmanager.getplugin("terminalreporter")
                    self._progress = Progress(lines, getattr(terminal, "write_line", print))
        if self.recorder is not None and self.recorder.plans(nodeid):
            self.recorder.started(nodeid)
            if self._progress is not None:
                self._progress.started(nodeid)

    def _planned(self) -> list[dict[str, Any]]:
        if self.plan_file is not None and self.plan_file.exists():
            lines: list[dict[str, Any]] = json.loads(self.plan_file.read_text(encoding="utf-8"))
            return lines
        return self.plan.lines()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failures += report.failed
        if self.recorder is not None:
            line = self.recorder.finished(report, getattr(report, _OUTCOME, None))
            if line is not None and self._progress is not None:
                self._progress.finished(line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
        if self._progress is None or self.recorder is None or not self.recorder.plans(report.nodeid):
            return None
        return (report.outcome if report.when == "call" or report.failed else ""), "", report.outcome.upper()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest and xdist stop for -x with subclasses of KeyboardInterrupt.
        self._interrupted = type(excinfo.value) is KeyboardInterrupt or isinstance(excinfo.value, pytest.exit.Exception)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.recorder is None:
            return
        from eosbench import report

        limit = session.config.getoption("maxfail")
        early = bool(session.shouldstop or session.shouldfail or (limit and self._failures >= limit))
        self.recorder.end("interrupted" if self._interrupted else "stopped early" if early else "finished")
        try:
            results = report.write(self.recorder.path, self.recorder.path.parent)
            self._summary = report.summary(results)
        except Exception as problem:
            self._summary = (
                f"The report could not be written ({type(problem).__name__}: {problem}). What was found is kept in "
                f"{self.recorder.path}."
            )
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            return
        if results.drifted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._summary:
            terminalreporter.section("claims")
            for line in self._summary.splitlines():
                terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
        if self.plan_file is not None:
            shutil.rmtree(self.plan_file.parent, ignore_errors=True)


class XdistController:
    """What the controller of pytest-xdist does besides: it hands out claims whole, and finds the workers' plan."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_configure_node(self, node: Any) -> None:
        if self._session.plan_file is None:
            self._session.plan_file = Path(tempfile.mkdtemp(prefix="eosbench-")) / "plan.json"
        node.workerinput["eosbench_plan"] = str(self._session.plan_file)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if config.getoption("dist") != "load":
            return None
        paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
        if not catalogue.claim_files(paths):
            return None
        from eosbench.scheduling import ExperimentScheduling

        return ExperimentScheduling(config, log, lambda: self._session.plan_file)


def _require_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as problem:
        raise pytest.UsageError(
            f"--claims-report {directory}: {problem.strerror or problem}; name a directory that can be written"
        ) from None
