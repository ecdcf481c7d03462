"""What changed between reports: verdicts, constants and cost. Works on `claims.json` alone."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosbench.report.claims_json import ClaimSummary, ConstantSummary, Report, load
from eosbench.report.notation import digits, interval
from eosbench.report.results import ResultsError

# From good to bad. What did not run is neither: it is told, but it is no step down.
_LADDER = ("holds", "corrected", "refuted", "vacuous", "inconclusive", "broken")
_SAME = 1e-3  # of an interval's width: less is rounding
_COSTLIER = 1.5
_SECONDS = 5.0  # shorter runs vary too much to compare
_MORE_PRODUCTS = 1.1  # they are counted, not timed, and hardly vary


@dataclass(frozen=True)
class Change:
    """One difference between two reports; `worse` if a verdict stepped down, or a constant is no longer checked."""

    claim: str
    sentence: str
    worse: bool = False


def compare(old: Report, new: Report) -> list[Change]:
    """The differences of two reports, by claim."""
    before, after = ({claim.id: claim for claim in report.claims} for report in (old, new))
    changes = [Change(name, f"is gone; it was {before[name].verdict}") for name in before.keys() - after.keys()]
    changes += [Change(name, f"is new; it is {after[name].verdict}") for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        changes += (Change(name, *told) for told in _differences(before[name], after[name]))
    return sorted(changes, key=lambda change: (not change.worse, change.claim))


def _differences(old: ClaimSummary, new: ClaimSummary) -> Iterator[tuple[str, bool]]:
    if old.verdict != new.verdict:
        steps = [_LADDER.index(claim.verdict) for claim in (old, new) if claim.verdict in _LADDER]
        why = f" ({new.reasons[0]})" if new.reasons else ""
        yield f"was {old.verdict} and is {new.verdict}{why}", len(steps) == 2 and steps[1] > steps[0]
    elif old.severity and new.severity and old.severity != new.severity:
        yield f"was called {old.severity} and is called {new.severity}", False
    before, after = ({constant.name: constant for constant in claim.constants} for claim in (old, new))
    # Of a claim that reached no verdict, the constants went with its cases.
    yield from ((f"no longer checks {name}", new.verdict in _LADDER) for name in before if name not in after)
    for name, constant in after.items():
        claimed = digits(constant.claimed, 6)
        if name not in before:
            yield f"checks {name} ({claimed}), as it did not before", False
            continue
        was = digits(before[name].claimed, 6)
        told = f"{name} ({claimed}" + (f", claimed {was} before)" if was != claimed else ")")
        if _moved(before[name], constant):
            intervals = [interval(c.low, c.high, c.claimed) for c in (before[name], constant)]
            yield f"{told}: {intervals[0]} became {intervals[1]}", False
        elif was != claimed:
            yield told, False
    if max(old.seconds, new.seconds) > _SECONDS and new.seconds > _COSTLIER * old.seconds:
        yield f"took {old.seconds:.1f} s and takes {new.seconds:.1f} s", False
    if old.products and new.products > _MORE_PRODUCTS * old.products:
        yield f"needed {old.products:.0f} products and needs {new.products:.0f}", False


def _moved(was: ConstantSummary, now: ConstantSummary) -> bool:
    """Whether an admissible interval is another than it was, by more than rounding."""
    before, after = [was.low, was.high], [now.low, now.high]
    if not all(map(math.isfinite, before + after)):
        return str(before) != str(after)  # which nan survives
    return max(abs(a - b) for a, b in zip(before, after, strict=True)) > _SAME * abs(before[1] - before[0])


def history(directory: Path) -> tuple[list[str], list[list[str]]]:
    """Verdicts over versions: column heads, and a row for each claim, from every `claims.json` below a directory.

    Columns are in the order in which the runs started.

    Raises:
        ResultsError: there is no report below the directory.
    """
    reports = [load(file) for file in directory.rglob("claims.json") if file.parent.name != "partial"]
    if not reports:
        raise ResultsError(f"there is no claims.json below {directory}; name a directory of reports")
    reports.sort(key=lambda report: str(report.environment.get("started")))
    verdicts = [{claim.id: claim.verdict for claim in report.claims} for report in reports]
    names = sorted(set().union(*verdicts))
    return [_head(report.environment) for report in reports], [
        [name, *(found.get(name, "") for found in verdicts)] for name in names
    ]


def _head(environment: Mapping[str, Any]) -> str:
    commit = str(environment.get("commit") or "no commit")[:8] + ("+" if environment.get("dirty") else "")
    return f"{environment.get('eosbench', '?')}\n{commit}"
