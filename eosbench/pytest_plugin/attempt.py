"""One case as it runs: its evidence, its reading, and how it ended.

The evidence travels with pytest's own reports, so that it reaches the controller of pytest-xdist as each case ends.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from eosbench import raised, verdict
from eosbench.claim import Case, Check, EvidenceError
from eosbench.pytest_plugin.collection import CASE
from eosbench.pytest_plugin.recorder import last_line
from eosbench.records import Outcome, Reading, Status, from_json, to_json

if TYPE_CHECKING:
    from eosbench.evidence import Evidence

ATTEMPT = pytest.StashKey["Attempt"]()
"""Of an item: the attempt that is running, or was the last to run."""

_OUTCOME = "eosbench_outcome"  # an attribute of reports: pytest-xdist sends it along, --junitxml leaves it out


@dataclass
class Attempt:
    """One run of a case, from its setup on. Plugins run a case again that failed; then the last attempt counts."""

    number: int
    evidence: "Evidence | None" = None
    running: bool = False
    reading: Reading | None = None
    seconds: float | None = None
    """What the call took; None until it has ended."""
    problem: BaseException | None = None
    """What the check raised, also within a subtest, which keeps it from pytest."""
    outcome: Outcome | None = None
    """What the reports have told of this attempt."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """With its setup an attempt begins, and nothing of the one before is left."""
    if CASE in item.stash:
        before = item.stash.get(ATTEMPT, None)
        item.stash[ATTEMPT] = Attempt(before.number + 1 if before else 1)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """A case passes when its reading is one with which the claim can still reach the expected verdict."""
    if CASE not in pyfuncitem.stash:
        return (yield)
    attempt = pyfuncitem.stash[ATTEMPT]
    start, attempt.running, attempt.reading = time.perf_counter(), True, None
    try:
        if attempt.seconds is not None:
            raise EvidenceError("the check was called a second time without a new setup; its evidence would be of both")
        result = yield from _called(attempt, *pyfuncitem.stash[CASE])
    except BaseException as problem:
        attempt.problem = problem
        raise
    finally:
        attempt.seconds, attempt.running = time.perf_counter() - start, False
    return result


def _called(attempt: Attempt, check: Check, case: Case) -> Generator[None, Any, Any]:
    from eosbench.evidence import OutOfScope

    try:
        result = yield
    except OutOfScope as reason:
        pytest.skip(str(reason))
    except pytest.skip.Exception:
        if attempt.evidence is not None and attempt.evidence.compares:
            raise EvidenceError("pytest.skip() comes after a comparison, which it would hide; call it first") from None
        raise
    if attempt.problem is not None:
        return result
    records = attempt.evidence.records if attempt.evidence else []
    try:
        reading = verdict.read(records, case.role)
    except ValueError as problem:
        raise EvidenceError(f"{check.function.__name__}: {problem}") from None
    attempt.reading = reading
    wanted = verdict.wanted(case.role, check.claim.expected, check.vacuous)
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
    report = yield
    attempt = item.stash.get(ATTEMPT, None)
    if attempt is None:
        return report
    problem = call.excinfo.value if call.excinfo is not None else None
    if attempt.running:  # the report of a subtest
        attempt.problem = problem if report.failed else attempt.problem
    elif (ending := _ending(item, attempt, report, problem)) is not None:
        attempt.outcome = replace(ending, **_recorded(attempt, report))
        setattr(report, _OUTCOME, to_json(attempt.outcome))
    if isinstance(problem, EvidenceError):
        report.longrepr = f"{item.nodeid}: {_told(item, problem)}"
    if report.when == "teardown":
        attempt.problem = None  # and with it all that its traceback holds
    return report


def _ending(
    item: pytest.Item, attempt: Attempt, report: pytest.TestReport, problem: BaseException | None
) -> Outcome | None:
    """How the attempt ended, as far as it is known after this phase; None where the phase changes nothing."""
    if report.when == "call":
        return _ending_of_call(item, attempt, report, problem)
    if isinstance(problem, pytest.skip.Exception | pytest.xfail.Exception):
        return _ended(item, "skipped", str(problem)) if report.when == "setup" else None
    if problem is not None:
        failure = f"{report.when} failed: {_told(item, problem)}"
        before = attempt.outcome.message if attempt.outcome else ""
        return _ended(item, "error", f"{before}; {failure}" if before else failure)
    if report.when == "teardown" and attempt.outcome is None and attempt.seconds is not None:
        # It was run again within the report of an attempt before, and has none of its own.
        return _ending_of_call(item, attempt, report, attempt.problem)
    return None


def _ending_of_call(
    item: pytest.Item, attempt: Attempt, report: pytest.TestReport, problem: BaseException | None
) -> Outcome:
    own = problem is attempt.problem  # and not of another plugin, after the check
    problem = problem or attempt.problem
    if attempt.reading is not None and own and (problem is not None or not report.failed):
        return _ended(item, "completed", reading=attempt.reading)
    if isinstance(problem, pytest.skip.Exception):
        return _ended(item, "skipped", str(problem))
    message = _told(item, problem) if problem is not None else last_line(report.longreprtext)
    return _ended(item, "timeout" if isinstance(problem, TimeoutError) else "error", message)


def _ended(item: pytest.Item, status: Status, message: str = "", reading: Reading | None = None) -> Outcome:
    return Outcome(nodeid=item.nodeid, status=status, message=message, reading=reading)


def outcome_of(report: pytest.TestReport) -> Outcome | None:
    """How the case ended, as far as this report tells."""
    told = getattr(report, _OUTCOME, None)
    return None if told is None else from_json(Outcome, told)


def _recorded(attempt: Attempt, report: pytest.TestReport) -> dict[str, Any]:
    recorded = attempt.evidence
    return {
        "attempts": attempt.number,
        "seconds": report.duration if attempt.seconds is None else attempt.seconds,
        "products": recorded.products if recorded else 0,
        "records": recorded.records if recorded else [],
        "series": recorded.curves if recorded else [],
    }


def _told(item: pytest.Item, problem: BaseException) -> str:
    """What was raised, with the file and line in the code of whoever wrote the check."""
    file, line, _ = item.location
    return "; ".join(
        f"{_sentence(one)} ({raised.place(one, item.config.rootpath) or f'{file}:{(line or 0) + 1}'})"
        for one in raised.each(problem)
    )


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, pytest.FixtureLookupError):
        return problem.formatrepr().errorstring.strip().partition("\n")[0]
    return str(problem) if isinstance(problem, EvidenceError) else raised.told(problem)
