"""A line for each claim as it is taken up and as it is decided, for those who wait."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from eosbench import verdict


class Progress:
    """Follows a run: tells of each claim when its first case starts, and its verdict when the last one has ended."""

    def __init__(self, lines: list[dict[str, Any]], write: Callable[[str], None]) -> None:
        self._write = write
        self._claims = {line["id"]: line for line in lines if line["type"] == "claim"}
        planned = [line for line in lines if line["type"] == "planned"]
        unselected: dict[str, Any] = {"status": "deselected", "reading": None, "records": []}
        self._cases = {line["nodeid"]: line | ({} if line["selected"] else unselected) for line in planned}
        self._waiting = {line["nodeid"] for line in planned if line["selected"]}
        self._total = len(self._waiting)
        self._begun: dict[str, float] = {}

    def started(self, nodeid: str) -> None:
        """A case starts."""
        claim = self._cases[nodeid]["claim"]
        if claim not in self._begun:
            self._begun[claim] = time.monotonic()
            self._tell("at work", claim)

    def finished(self, outcome: Mapping[str, Any]) -> None:
        """A case ended; the mapping is its line of the results file."""
        nodeid = outcome["nodeid"]
        self._cases[nodeid] = self._cases[nodeid] | dict(outcome)
        self._waiting.discard(nodeid)
        claim = self._cases[nodeid]["claim"]
        mine = [case for case in self._cases.values() if case["claim"] == claim]
        if not any(case["nodeid"] in self._waiting for case in mine):
            judged = verdict.judge(self._claims[claim], mine)
            drift = f", expected {self._claims[claim]['expected']}" if judged.drift else ""
            self._tell(judged.verdict, f"{claim}{drift} ({time.monotonic() - self._begun[claim]:.1f} s)")

    def _tell(self, what: str, about: str) -> None:
        done = self._total - len(self._waiting)
        self._write(f"[{done:>{len(str(self._total))}}/{self._total}] {what:<12} {about}")
