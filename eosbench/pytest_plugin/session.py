"""The run: it opens the results file, follows the cases, and reaches the verdicts in the end."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from eosbench import catalogue, compiled
from eosbench.pytest_plugin.attempt import outcome_of
from eosbench.pytest_plugin.kept import Kept
from eosbench.pytest_plugin.progress import Progress
from eosbench.pytest_plugin.recorder import Plan, Recorder, last_line
from eosbench.records import CollectError


class WorkerSession:
    """A worker of pytest-xdist: it collects, and hands the plan to the controller through a file."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self.plan = plan
        self._file = Path(config.workerinput["eosbench_plan"])  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.plan.finish(session.items)
        if not self.plan.empty:
            unfinished = self._file.with_suffix(f".{os.getpid()}")
            unfinished.write_text(self.plan.dumps(), encoding="utf-8")
            unfinished.replace(self._file)


class Session:
    """The process that reaches the verdicts: a serial run, or the controller of pytest-xdist."""

    def __init__(self, config: pytest.Config, directory: Path, plan: Plan, kept: Kept) -> None:
        self.plan = plan
        self.kept = kept
        self.plan_file: Path | None = None
        self.recorder: Recorder | None = None
        self._progress: Progress | None = None
        self._config = config
        self.directory = directory
        self._collect_errors: list[CollectError] = []
        self._failures = 0
        self._interrupted = False
        self._summary = ""
        self._compiled = compiled.folder()
        self._compiled_before = self._compiled is None or self._compiled.exists()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.plan.finish(session.items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            message = last_line(report.longreprtext)
            self._collect_errors.append(CollectError(file=report.nodeid, message=message))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Open the results file when the first item starts: nothing is written where nothing runs."""
        if self.recorder is None:
            plan = self._planned()
            if not plan.empty:
                self.recorder = self._recorder(plan)
                if self._config.getoption("--claims-progress"):
                    terminal = self._config.pluginmanager.getplugin("terminalreporter")
                    self._progress = Progress(plan, getattr(terminal, "write_line", print))
        if self.recorder is not None and self.recorder.plans(nodeid):
            self.recorder.started(nodeid)
            if self._progress is not None:
                self._progress.started(nodeid)

    def _recorder(self, plan: Plan) -> Recorder:
        require_writable(self.directory)
        return Recorder(self._config, self.directory, plan, self._collect_errors, self.kept)

    def _planned(self) -> Plan:
        """The plan of this process, or the one that a worker handed over."""
        if self.plan_file is not None and self.plan_file.exists():
            return Plan.loads(self.plan_file.read_text(encoding="utf-8"))
        return self.plan

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failures += report.failed
        if self.recorder is not None:
            line = self.recorder.finished(report, outcome_of(report))
            final = report.passed or report.failed or report.skipped  # plugins that run it again say another word
            if line is not None and final and self._progress is not None:
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
        if self.recorder is None and self.kept.files and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            self.recorder = self._recorder(self.plan)  # all claims are kept
            session.exitstatus = pytest.ExitCode.OK
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
            if not self._compiled_before and self._compiled is not None and self._compiled.exists():
                told = (
                    f"What claims compile is kept from now on, in {self._compiled}; {compiled.SETTING}=off keeps none."
                )
                terminalreporter.write_line(told)
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
        node.workerinput["eosbench_kept"] = list(self._session.kept.files)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if config.getoption("dist") != "load":
            return None
        paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
        if not catalogue.claim_files(paths):
            return None
        from eosbench.pytest_plugin.scheduling import ExperimentScheduling, seconds_before

        seconds = seconds_before(self._session.directory)
        return ExperimentScheduling(config, log, lambda: self._session.plan_file, seconds)


def require_writable(directory: Path) -> None:
    """Refuse a report's directory that cannot be written, before anything runs."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as problem:
        raise pytest.UsageError(
            f"--claims-report {directory}: {problem.strerror or problem}; name a directory that can be written"
        ) from None
