"""What changed between reports: verdicts, constants and cost. Works on `claims.json` alone."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosbench.report.notation import digits, interval, number
from eosbench.report.results import CLAIMS_SCHEMA, ResultsError

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


def load(path: Path) -> dict[str, Any]:
    """The content of a `claims.json`, or of the one in a report's directory.

    Raises:
        ResultsError: there is none, it is of another schema, or something is missing in it.
    """
    file = path / "claims.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_bytes())  # in UTF-8 or 16, with or without a mark of it
    except OSError as problem:
        raise ResultsError(f"{file} cannot be read: {problem.strerror}; name a claims.json or its directory") from None
    except ValueError:
        raise ResultsError(f"{file} is not JSON; name a claims.json or its directory") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != CLAIMS_SCHEMA:
        raise ResultsError(
            f"{file} has the schema {schema!r} where {CLAIMS_SCHEMA!r} is read; use the eosbench it is of"
        )
    if not _whole(found):
        raise ResultsError(f"{file} lacks what is compared; write it again with `eosbench report`")
    return dict(found)


def _whole(report: dict[str, Any]) -> bool:
    """Whether a report names every claim and constant, and their verdicts."""
    claims = report.get("claims")
    return (
        isinstance(report.get("environment"), dict)
        and isinstance(claims, list)
        and all(_has(claim, id=str, verdict=str, reasons=list, constants=list) for claim in claims)
        and all(_has(constant, name=str) for claim in claims for constant in claim["constants"])
    )


def _has(entry: Any, **kinds: type) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())


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
    known, found = ({constant["name"]: constant for constant in claim["constants"]} for claim in (old, new))
    # Of a claim that reached no verdict, the constants went with its cases.
    yield from ((f"no longer checks {name}", new["verdict"] in _LADDER) for name in known if name not in found)
    for name, constant in found.items():
        claimed = digits(constant.get("claimed"), 6)
        if name not in known:
            yield f"checks {name} ({claimed}), as it did not before", False
            continue
        was = digits(known[name].get("claimed"), 6)
        told = f"{name} ({claimed}" + (f", claimed {was} before)" if was != claimed else ")")
        if _moved(known[name], constant):
            intervals = [interval(*(c.get(key) for key in ("low", "high", "claimed"))) for c in (known[name], constant)]
            yield f"{told}: {intervals[0]} became {intervals[1]}", False
        elif was != claimed:
            yield told, False
    seconds = [number(claim.get("seconds")) for claim in (old, new)]
    if max(seconds) > _SECONDS and seconds[1] > _COSTLIER * seconds[0]:
        yield f"took {seconds[0]:.1f} s and takes {seconds[1]:.1f} s", False
    before, after = (number(claim.get("products")) for claim in (old, new))  # older reports did not count them
    if before and after > _MORE_PRODUCTS * before:
        yield f"needed {before:.0f} products and needs {after:.0f}", False


def _moved(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an admissible interval is another than it was, by more than rounding."""
    before, after = ([number(constant.get(end)) for end in ("low", "high")] for constant in (was, now))
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
    reports.sort(key=lambda report: str(report["environment"].get("started")))
    verdicts = [{claim["id"]: claim["verdict"] for claim in report["claims"]} for report in reports]
    names = sorted(set().union(*verdicts))
    return [_head(report["environment"]) for report in reports], [
        [name, *(found.get(name, "") for found in verdicts)] for name in names
    ]


def _head(environment: dict[str, Any]) -> str:
    commit = str(environment.get("commit") or "no commit")[:8] + ("+" if environment.get("dirty") else "")
    return f"{environment.get('eosbench', '?')}\n{commit}"
