"""From records to readings, and from readings to verdicts: pure rules.

Everything here works on the plain objects of a results file, so that the verdict of a run, of a killed run and of an
old report is reached by the same code. `docs/verdicts.md` states the rules in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eosbench.claim import Role, Verdict

Reading = Literal["satisfied", "violated", "vacuous", "indeterminate"]
Grade = Literal["proved", "exact", "measured"]

_GRADE_OF_KIND: dict[str, Grade] = {"proved": "proved", "equal": "exact"}
_GRADES: tuple[Grade, ...] = ("proved", "exact", "measured")  # from strong to weak
_FAILURES = ("error", "timeout", "crashed", "lost")
_ANY_READING = ("refuted", "inconclusive", "vacuous")


@dataclass(frozen=True)
class Constant:
    """A constant of theory and how wrong it could be and still pass: the admissible interval [low, high]."""

    name: str
    claimed: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim and what led to it."""

    verdict: Verdict
    drift: bool
    grade: Grade | None = None
    reasons: tuple[str, ...] = ()
    controls: tuple[tuple[str, bool], ...] = ()
    constants: tuple[Constant, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: Mapping[str, Any] | None = None


def read(records: Sequence[Mapping[str, Any]], role: Role = "case") -> Reading:
    """The reading of a case that ran to its end.

    An unmet hypothesis makes a case vacuous, except in a control, which breaks one on purpose. A single violated
    comparison violates the case.

    Raises:
        ValueError: if nothing was compared, since such a case could not fail.
    """
    compared = [record for record in records if record["kind"] != "requires"]
    if not compared:
        raise ValueError(
            "the check recorded no comparison; call evidence.at_most(...), evidence.close(...) or the like"
        )
    control = role in ("control", "positive control")
    if not control and not all(record["met"] for record in records if record["kind"] == "requires"):
        return "vacuous"
    readings = {record["reading"] for record in compared}
    for reading in ("violated", "indeterminate"):
        if reading in readings:
            return reading
    return "satisfied"


def wanted(role: Role, expected: str) -> tuple[Reading, ...]:
    """The readings of a single case under which the verdict can still be the expected one."""
    if role in ("control", "counterexample"):
        return ("violated",)
    if role == "positive control":
        return ("satisfied",)
    if expected in _ANY_READING:
        return ("satisfied", "violated", "vacuous", "indeterminate")
    return ("satisfied", "vacuous")


def judge(claim: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> Judgement:
    """The verdict on a claim from all its planned cases.

    Args:
        claim: `id`, `expected`, `corrected` and `out_of_scope`, as in a results file.
        cases: one mapping per planned case: `nodeid`, `check`, `case`, `role`, `status` and, if it completed, `reading`
            and `records`.
    """
    own = [case for case in cases if case["role"] == "case"]
    controls = tuple((_name(case), _fired(case)) for case in cases if "control" in case["role"])
    verdict, reasons = _verdict(claim, cases)
    lost = any(case["status"] in _FAILURES for case in cases)
    excused = verdict == "out of scope" or (verdict in ("partial", "not run") and not lost)
    return Judgement(
        verdict,
        drift=verdict != claim["expected"] and not excused,
        grade=_grade(own) if verdict in ("holds", "corrected", "refuted") else None,
        reasons=tuple(reasons),
        controls=controls,
        constants=_constants(own),
        counts=_counts(own),
        worst=_worst(own),
    )


def _verdict(claim: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> tuple[Verdict, list[str]]:
    """The rules in the order of their precedence."""
    if claim["out_of_scope"]:
        return "out of scope", [claim["out_of_scope"]]

    def having(*roles: Role, **wanted: Any) -> list[Mapping[str, Any]]:
        return [c for c in cases if c["role"] in roles and all(c.get(key) == value for key, value in wanted.items())]

    done = [case for case in cases if case["status"] == "completed"]
    failed = [case for case in cases if case["status"] in _FAILURES]
    if all(case["status"] in ("deselected", "lost") for case in cases):
        lost = sum(case["status"] == "lost" for case in cases)
        reason = f"the run ended before any of its {lost} selected cases" if lost else "none of its cases were selected"
        return "not run", [reason]

    violated = having("case", reading="violated")
    counterexamples = having("counterexample", reading="violated")
    unfired = [case for case in done if "control" in case["role"] and not _fired(case)]
    # Where a claim has positive controls, a check without one is a step of the argument: it does not refute.
    sharp = {case["check"] for case in having("positive control")}
    steps = [case for case in violated if sharp and case["check"] not in sharp]
    blunt = unfired if sharp else []
    refuting = violated + ([] if claim["corrected"] else counterexamples)
    if refuting and not blunt and not steps:
        return "refuted", [_why(case, "violated") for case in refuting]
    if failed:
        return "broken", [f"{_name(case)}: {case['status']}{_tail(case)}" for case in failed]

    doubts = [_why(case, "indeterminate") for case in having("case", reading="indeterminate")]
    doubts += [f"{_why(case, 'violated')}, in a check that has no positive control" for case in steps]
    doubts += [f"{_name(case)} did not fire: it reads {case['reading']}" for case in unfired]
    doubts += [
        f"the counterexample {_name(case)} reads {case['reading']}, so the printed form is not shown wrong"
        for case in having("counterexample", status="completed")
        if case["reading"] != "violated"
    ]
    if doubts:
        return "inconclusive", doubts

    empty = [check for check, group in _by_check(having("case", status="completed")) if _all_vacuous(group)]
    if empty:
        return "vacuous", [f"the hypotheses of {check} are met in none of its cases" for check in empty]

    skipped = [case for case in cases if case["status"] == "skipped"]
    if skipped and all(case["status"] in ("skipped", "deselected") for case in cases if case["role"] == "case"):
        return "out of scope", sorted({case.get("message") or "skipped" for case in skipped})
    missing = [case for case in cases if case["status"] != "completed"]
    if missing:
        return "partial", [f"{len(missing)} of its {len(cases)} cases and controls did not run"]
    if not any("control" in case["role"] for case in cases):
        return "inconclusive", ["it has no control"]
    return ("corrected" if claim["corrected"] and counterexamples else "holds"), []


def _fired(case: Mapping[str, Any]) -> bool:
    sought = "satisfied" if case["role"] == "positive control" else "violated"
    return case["status"] == "completed" and case.get("reading") == sought


def _name(case: Mapping[str, Any]) -> str:
    return f"{case['check']}[{case['case']}]" if case["case"] else str(case["check"])


def _tail(case: Mapping[str, Any]) -> str:
    return f" ({case['message']})" if case.get("message") else ""


def _why(case: Mapping[str, Any], reading: Reading) -> str:
    return f"{_name(case)}: {explain(case['records'], reading)}"


def explain(records: Sequence[Mapping[str, Any]], reading: Reading) -> str:
    """The records that gave a case this reading, in words and numbers."""
    if reading == "vacuous":
        return "; ".join(f"not met: {record['name']}" for record in records if not record.get("met", True))
    return "; ".join(_describe(record) for record in records if record.get("reading") == reading)


def _describe(record: Mapping[str, Any]) -> str:
    measured, predicted = (_short(record[key]) for key in ("measured", "predicted"))
    tolerance = f" ± {_short(record['tolerance'])}" if _number(record["tolerance"]) else ""
    relation = {"at_most": "≤", "at_least": "≥", "fraction": "≥", "bounded_by": "≤"}.get(record["kind"], "against")
    return f"{record['name']} {measured} {relation} {predicted}{tolerance} is {record['reading']}"


def _short(value: Any) -> str:
    return f"{_number(value):.6g}"


def _number(value: Any) -> float:
    """A number of a results file, where non-finite ones are strings."""
    return float(value)


def _by_check(cases: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        groups.setdefault(case["check"], []).append(case)
    return list(groups.items())


def _all_vacuous(cases: Sequence[Mapping[str, Any]]) -> bool:
    return all(case["reading"] == "vacuous" for case in cases)


def _comparisons(cases: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(case, record) for every comparison of the cases that say something."""
    return [
        (case, record)
        for case in cases
        if case["status"] == "completed" and case["reading"] != "vacuous"
        for record in case["records"]
        if record["kind"] != "requires"
    ]


def _grade(cases: Iterable[Mapping[str, Any]]) -> Grade | None:
    grades = [_GRADE_OF_KIND.get(record["kind"], "measured") for _, record in _comparisons(cases)]
    return max(grades, key=_GRADES.index, default=None)


def _constants(cases: Iterable[Mapping[str, Any]]) -> tuple[Constant, ...]:
    found: dict[str, Constant] = {}
    for _, record in _comparisons(cases):
        if record["kind"] != "constant":
            continue
        tolerance, ends = _number(record["tolerance"]), record.get("detail") or {}
        low = _number(ends.get("largest", record["measured"])) - tolerance
        high = _number(ends.get("smallest", record["measured"])) + tolerance
        if record["name"] in found:
            low, high = max(low, found[record["name"]].low), min(high, found[record["name"]].high)
        found[record["name"]] = Constant(record["name"], _number(record["predicted"]), low, high)
    return tuple(found.values())


def _counts(cases: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        key = case["reading"] if case["status"] == "completed" else case["status"]
        counts[key] = counts.get(key, 0) + 1
    return counts


def _worst(cases: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The comparison that came nearest to failing: by its reading, then by how little of its allowance is left."""
    pairs = _comparisons(cases)
    if not pairs:
        return None
    order = ("violated", "indeterminate", "satisfied")
    case, record = min(pairs, key=lambda pair: (order.index(pair[1]["reading"]), _number(pair[1]["slack"])))
    return {"case": _name(case), **{key: record[key] for key in ("name", "slack", "margin", "uncertainty")}}
