"""A pytest-xdist scheduler that keeps the cases of one experiment on one worker, and begins with what takes longest.

They share compiled shapes and trajectories, which every worker that gets one of them would have to make again. xdist's
own `--dist loadgroup` does nothing under pytest 9.2 with xdist 3.8, and would need a mark on every item.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from eosbench.pytest_plugin.recorder import Plan
from eosbench.records import Outcome, parse_line


class ExperimentScheduling(LoadScopeScheduling):
    """Hands out experiments whole; any other test by itself. `seconds` are those of cases in a run before."""

    def __init__(
        self, config: pytest.Config, log: Any, plan_file: Callable[[], Path | None], seconds: Mapping[str, float]
    ) -> None:
        super().__init__(config, log)
        self._plan_file = plan_file
        self._seconds = seconds
        self._experiments: dict[str, str] | None = None

    def remove_node(self, node: Any) -> str | None:
        """The item at which a worker died. The rest of its work goes to others; the item itself is not run again.

        xdist would hand out that item too, so that a check which kills its worker kills the next one as well.
        """
        work = self.assigned_work.get(node, {})
        died = next(((unit, nodeid) for unit in work.values() for nodeid, done in unit.items() if not done), None)
        if died is not None:
            unit, nodeid = died
            unit[nodeid] = True
            self.assigned_work[node] = {scope: unit for scope, unit in work.items() if not all(unit.values())}
        super().remove_node(node)
        return died and died[1]

    def _reschedule(self, node: Any) -> None:
        """Give a worker work. It starts an item only when it knows the next, or knows that there is none."""
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue and not node.shutting_down:
            node.shutdown()

    def _assign_work_unit(self, node: Any) -> None:
        """Hand out the longest of those that wait, so that what is left in the end is short."""
        longest = max(self.workqueue, key=lambda scope: expected(self.workqueue[scope], self._seconds))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        if self._experiments is None:
            file = self._plan_file()
            plan = Plan.loads(file.read_text(encoding="utf-8")) if file is not None and file.exists() else Plan()
            self._experiments = experiments(plan)
        return self._experiments.get(nodeid, nodeid)


def experiments(plan: Plan) -> dict[str, str]:
    """The experiment of each case, by the ids of their items."""
    of_claim = {claim.id: claim.experiment for claim in plan.claims}
    return {case.nodeid: of_claim[case.claim] for case in plan.cases}


def expected(nodeids: Iterable[str], seconds: Mapping[str, float]) -> float:
    """How long these cases take together by what they took before; what is not known may take any time."""
    known = [seconds[nodeid] for nodeid in nodeids if nodeid in seconds]
    return sum(known) if known else math.inf


def seconds_before(directory: Path) -> dict[str, float]:
    """What each case took in the last run that a report's directory tells of, by the ids of their items."""
    seconds = {}
    for name in ("previous.jsonl", "evidence.jsonl"):  # the last run may have been killed
        try:
            with (directory / name).open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if isinstance(found := parse_line(line), Outcome):
                        seconds[found.nodeid] = found.seconds
        except (OSError, ValueError):  # there is none, or its last line was cut off: nothing but an order is lost
            continue
    return seconds
