"""What changed between reports: verdicts, constants and cost. Works on `claims.json` alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosbench.report.notation import digits, interval
from eosbench.report.results import CLAIMS_SCHEMA, ResultsError

# From good to bad. What did not run is neither: it is told, but it is no step down.
_LADDER = ("holds", "corrected", "refuted", "vacuous", "inconclusive", "broken")
_SAME = 1e-3  # of an interval's width: less is rounding
_COSTLIER = 1.5
_SECONDS = 5.0  # shorter runs vary too much to compare
_MORE_PRODUCTS = 1.1  # they are counted, not timed, and hardly vary


@dataclass(frozen=True)
class Change:
    """One difference between two reports; `worse` if a verdict stepped down."""

    claim: str
    sentence: str
    worse: bool = False


def load(path: Path) -> dict[str, Any]:
    """The content of a `claims.json`, or of the one in a report's directory.

    Raises:
        ResultsError: there is none, or it is of another schema.
    """
    file = path / "claims.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ResultsError(f"{file} cannot be read: {problem.strerror}; name a claims.json or its directory") from None
    except ValueError:
        raise ResultsError(f"{file} is not JSON; name a claims.json or its directory") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != CLAIMS_SCHEMA:
        raise ResultsError(
            f"{file} has the schema {schema!r} where {CLAIMS_SCHEMA!r} is read; use the eosbench it is of"
        )
    return dict(found)


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The differences of two reports, by claim."""
    before, after = ({claim["id"]: claim for claim in report["claims"]} for report in (old, new))
    changes = [Change(name, f"is gone; it was {before[name]['verdict']}") for name in before.keys() - after.keys()]
    changes += [Change(name, f"is new; it is {after[name]['verdict']}") for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        changes += (Change(name, *told) for told in _differences(before[name], after[name]))
    return sorted(changes, key=lambda change: (not change.worse, change.claim))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    if old["verdict"] != new["verdict"]:
        steps = [_LADDER.index(claim["verdict"]) for claim in (old, new) if claim["verdict"] in _LADDER]
        why = f" ({new['reasons'][0]})" if new["reasons"] else ""
        yield f"was {old['verdict']} and is {new['verdict']}{why}", len(steps) == 2 and steps[1] > steps[0]
    known = {constant["name"]: constant for constant in old["constants"]}
    for constant in new["constants"]:
        was = known.get(constant["name"])
        if was is None:
            continue
        allowed = _SAME * abs(was["high"] - was["low"])
        if max(abs(constant[end] - was[end]) for end in ("low", "high")) > allowed:
            intervals = [interval(c["low"], c["high"], c["claimed"]) for c in (was, constant)]
            yield f"{constant['name']} ({digits(constant['claimed'], 6)}): {intervals[0]} became {intervals[1]}", False
    if max(old["seconds"], new["seconds"]) > _SECONDS and new["seconds"] > _COSTLIER * old["seconds"]:
        yield f"took {old['seconds']:.1f} s and takes {new['seconds']:.1f} s", False
    before, after = (int(claim.get("products", 0)) for claim in (old, new))  # older reports did not count them
    if before and after > _MORE_PRODUCTS * before:
        yield f"needed {before} products and needs {after}", False


def history(directory: Path) -> tuple[list[str], list[list[str]]]:
    """Verdicts over versions: column heads, and a row for each claim, from every `claims.json` below a directory.

    Columns are in the order in which the runs started.

    Raises:
        ResultsError: there is no report below the directory.
    """
    reports = [load(file) for file in directory.rglob("claims.json") if file.parent.name != "partial"]
    if not reports:
        raise ResultsError(f"there is no claims.json below {directory}; name a directory of reports")
    reports.sort(key=lambda report: str(report["environment"].get("started")))
    verdicts = [{claim["id"]: claim["verdict"] for claim in report["claims"]} for report in reports]
    names = sorted(set().union(*verdicts))
    return [_head(report["environment"]) for report in reports], [
        [name, *(found.get(name, "") for found in verdicts)] for name in names
    ]


def _head(environment: dict[str, Any]) -> str:
    commit = (environment.get("commit") or "no commit")[:8] + ("+" if environment.get("dirty") else "")
    return f"{environment.get('eosbench', '?')}\n{commit}"
