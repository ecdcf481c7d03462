"""A line for each claim as it is taken up and as it is decided, for those who wait."""

import time
from collections.abc import Callable

from eosbench import verdict
from eosbench.pytest_plugin.recorder import Plan
from eosbench.records import CaseRecord, Outcome


class Progress:
    """Follows a run: tells of each claim when its first case starts, and its verdict when the last one has ended."""

    def __init__(self, plan: Plan, write: Callable[[str], None]) -> None:
        self._write = write
        self._claims = {claim.id: claim for claim in plan.claims}
        self._planned = {case.nodeid: case for case in plan.cases}
        self._outcomes = {
            case.nodeid: Outcome(nodeid=case.nodeid, status="deselected") for case in plan.cases if not case.selected
        }
        self._waiting = {case.nodeid for case in plan.cases if case.selected}
        self._total = len(self._waiting)
        self._begun: dict[str, float] = {}

    def started(self, nodeid: str) -> None:
        """A case starts."""
        claim = self._planned[nodeid].claim
        if claim not in self._begun:
            self._begun[claim] = time.monotonic()
            self._tell("at work", claim)

    def finished(self, outcome: Outcome) -> None:
        """A case ended."""
        self._outcomes[outcome.nodeid] = outcome
        self._waiting.discard(outcome.nodeid)
        claim = self._planned[outcome.nodeid].claim
        mine = [case for case in self._planned.values() if case.claim == claim]
        if not any(case.nodeid in self._waiting for case in mine):
            ended = [CaseRecord.of(case, self._outcomes[case.nodeid]) for case in mine]
            judged = verdict.judge(self._claims[claim], ended)
            drift = f", expected {self._claims[claim].expected}" if judged.drift else ""
            self._tell(judged.verdict, f"{claim}{drift} ({time.monotonic() - self._begun[claim]:.1f} s)")

    def _tell(self, what: str, about: str) -> None:
        done = self._total - len(self._waiting)
        self._write(f"[{done:>{len(str(self._total))}}/{self._total}] {what:<12} {about}")
