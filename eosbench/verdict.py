"""From records to readings, and from readings to verdicts: pure rules.

Everything here works on the records of a results file, so that the verdict of a run, of a killed run and of an old
report is reached by the same code. `docs/verdicts.md` states the rules in words.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eosbench.claim import Role, Verdict
from eosbench.records import (
    FAILURES,
    GRADES,
    CaseRecord,
    ClaimLine,
    Compared,
    Comparison,
    Grade,
    Reading,
    Record,
    Requires,
    number,
)

_ANY_READING = ("refuted", "inconclusive", "vacuous")


@dataclass(frozen=True)
class Constant:
    """A constant of theory and how wrong it could be and still pass: the admissible interval [low, high]."""

    name: str
    claimed: float
    low: float
    high: float


@dataclass(frozen=True)
class Worst:
    """The comparison of a claim that came nearest to failing, and the case that recorded it."""

    case: str
    comparison: Comparison


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim and what led to it; `grades` has the grade of each of its checks."""

    verdict: Verdict
    drift: bool
    grade: Grade | None = None
    grades: Mapping[str, Grade] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    controls: tuple[tuple[str, bool], ...] = ()
    constants: tuple[Constant, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: Worst | None = None


def read(records: Sequence[Record], role: Role = "case") -> Reading:
    """The reading of a case that ran to its end.

    An unmet hypothesis makes a case vacuous, except in a control, which breaks one on purpose. A single violated
    comparison violates the case. A control or counterexample has to *show* something, which a measured value that is
    nan or infinite does not: with nothing else violated it is indeterminate.

    Raises:
        ValueError: if nothing was compared, since such a case could not fail.
    """
    compared = [record for record in records if isinstance(record, Comparison)]
    if not compared:
        raise ValueError(
            "the check recorded no comparison; call evidence.at_most(...), evidence.close(...) or the like"
        )
    control = role in ("control", "positive control")
    if not control and not all(record.met for record in records if isinstance(record, Requires)):
        return "vacuous"
    shows = role in ("control", "counterexample")
    readings = {_shown(record) if shows else record.reading for record in compared}
    return "violated" if "violated" in readings else "indeterminate" if "indeterminate" in readings else "satisfied"


def _shown(record: Comparison) -> Compared:
    """The reading of a comparison in a case that has to show a violation."""
    return record.reading if math.isfinite(record.measured) else "indeterminate"


def wanted(role: Role, expected: str, vacuous: int = 0) -> tuple[Reading, ...]:
    """The readings of a single case under which the verdict can still be the expected one.

    `vacuous` is the number of cases of its check that are declared to be so.
    """
    if role in ("control", "counterexample"):
        return ("violated",)
    if role == "positive control":
        return ("satisfied",)
    readings: tuple[Reading, ...] = ("satisfied", "violated", "indeterminate")
    if expected not in _ANY_READING:
        readings = ("satisfied",)
    return (*readings, "vacuous") if vacuous or expected == "vacuous" else readings


def judge(claim: ClaimLine, cases: Sequence[CaseRecord]) -> Judgement:
    """The verdict on a claim from all its planned cases."""
    own = [case for case in cases if case.role == "case"]
    verdict, reasons = _verdict(claim, cases)
    lost = any(case.status in FAILURES for case in cases)
    excused = verdict == "out of scope" or (verdict in ("partial", "not run") and not lost)
    return Judgement(
        verdict,
        drift=verdict != claim.expected and not excused,
        grade=_grade(_carrying(own)) if verdict in ("holds", "corrected", "refuted") else None,
        grades={check: grade for check, group in _by_check(own) if (grade := _grade(group))},
        reasons=tuple(reasons),
        controls=tuple((_name(case), case.fired) for case in cases if case.is_control),
        constants=_constants(own),
        counts=_counts(own),
        worst=_worst(own),
    )


def _verdict(claim: ClaimLine, cases: Sequence[CaseRecord]) -> tuple[Verdict, list[str]]:
    """The rules in the order of their precedence."""
    if claim.out_of_scope:
        return "out of scope", [claim.out_of_scope]

    def reading(role: Role, reading: Reading) -> list[CaseRecord]:
        return [case for case in cases if case.role == role and case.reading == reading]

    done = [case for case in cases if case.status == "completed"]
    failed = [case for case in cases if case.status in FAILURES]
    if all(case.status in ("deselected", "lost") for case in cases):
        lost = sum(case.status == "lost" for case in cases)
        reason = f"the run ended before any of its {lost} selected cases" if lost else "none of its cases were selected"
        return "not run", [reason]

    violated, counterexamples = reading("case", "violated"), reading("counterexample", "violated")
    unfired = [case for case in done if case.is_control and not case.fired]
    # Where a claim has positive controls, only the checks that have one can refute; the others are steps of the
    # argument.
    decisive = {case.check for case in cases if case.role == "positive control"}
    steps = [case for case in violated if decisive and case.check not in decisive]
    refuting = violated + ([] if claim.corrected else counterexamples)
    vacuous = _vacuous(claim, done)
    if refuting and not steps and not (decisive and (unfired or vacuous)):
        return "refuted", [_why(case, "violated") for case in refuting]
    if failed:
        return "broken", [f"{_name(case)}: {case.status}{_tail(case)}" for case in failed]

    doubts = [_why(case, "indeterminate") for case in reading("case", "indeterminate")]
    doubts += [f"{_why(case, 'violated')}, in a check that has no positive control" for case in steps]
    doubts += [f"{_name(case)} did not fire: it reads {case.reading}{_unshown(case)}" for case in unfired]
    doubts += [
        f"{_name(case)} meets every hypothesis, on the axes of the grid, and is violated: that would be a "
        "counterexample; require the hypothesis that it breaks"
        for case in done
        if case.role == "control" and case.fired and _within_the_hypotheses(case, cases)
    ]
    doubts += [
        f"the counterexample {_name(case)} reads {case.reading}, so the printed form is not shown wrong{_unshown(case)}"
        for case in done
        if case.role == "counterexample" and case.reading != "violated"
    ]
    doubts += vacuous if refuting else []
    if doubts:
        return "inconclusive", doubts

    if vacuous:
        return "vacuous", vacuous

    skipped = [case for case in cases if case.status == "skipped"]
    if skipped and all(case.status in ("skipped", "deselected") for case in cases if case.role == "case"):
        return "out of scope", sorted({case.message or "skipped" for case in skipped})
    missing = [case for case in cases if case.status != "completed"]
    if missing:
        return "partial", [f"{len(missing)} of its {len(cases)} cases and controls did not run"]
    if not any(case.is_control for case in cases):
        return "inconclusive", ["it has no control"]
    return ("corrected" if claim.corrected and counterexamples else "holds"), []


def _within_the_hypotheses(control: CaseRecord, cases: Iterable[CaseRecord]) -> bool:
    """Whether a control is what a case could be: it differs on axes of the grid alone, and meets all that is required.

    Of a check that requires nothing it cannot be known.
    """
    values: dict[str, list[Any]] = {}
    for case in cases:
        if case.role == "case" and case.check == control.check:
            for name, value in case.params.items():
                values.setdefault(name, []).append(value)
    changed = [name for name, value in control.params.items() if value not in values.get(name, [])]
    on_axes = all(any(value != values[name][0] for value in values.get(name, [])) for name in changed)
    told = control.hypotheses
    return bool(changed) and on_axes and bool(told) and all(each.met for each in told)


def _vacuous(claim: ClaimLine, done: Iterable[CaseRecord]) -> list[str]:
    """A sentence for each check that has more vacuous cases than it declares."""
    told = []
    for check, group in _by_check(case for case in done if case.role == "case"):
        empty = [case for case in group if case.reading == "vacuous"]
        declared = claim.vacuous.get(check, 0)
        if len(empty) <= declared:
            continue
        if len(empty) == len(group):
            told.append(f"the hypotheses of {check} are met in none of its cases")
        else:
            told.append(
                f"{len(empty)} of {len(group)} cases of {check} are vacuous where {declared or 'none'} may be: "
                f"{min(_why(case, 'vacuous') for case in empty)}"
            )
    return told


def _name(case: CaseRecord) -> str:
    return f"{case.check}[{case.case}]" if case.case else case.check


def _unshown(case: CaseRecord) -> str:
    return f" ({explain(case.records, 'indeterminate')})" if case.reading == "indeterminate" else ""


def _tail(case: CaseRecord) -> str:
    return f" ({case.message})" if case.message else ""


def _why(case: CaseRecord, reading: Reading) -> str:
    return f"{_name(case)}: {explain(case.records, reading)}"


def explain(records: Sequence[Record], reading: Reading) -> str:
    """The records that gave a case this reading, in words and numbers."""
    if reading == "vacuous":
        return "; ".join(
            f"not met: {record.name}" for record in records if isinstance(record, Requires) and not record.met
        )
    compared = [record for record in records if isinstance(record, Comparison)]
    told = [_describe(record) for record in compared if record.reading == reading]
    if reading == "indeterminate":  # of a control too, which these alone do not make fire
        told += [
            f"{_describe(record)} by a value that is not finite, which shows nothing; record evidence.finite(...)"
            for record in compared
            if not math.isfinite(record.measured)
        ]
    return "; ".join(told)


def _describe(record: Comparison) -> str:
    tolerance = f" ± {record.tolerance:.6g}" if record.tolerance else ""
    relation = "against" if record.sign == "=" else record.sign
    return f"{record.name} {record.measured:.6g} {relation} {record.predicted:.6g}{tolerance} is {record.reading}"


def _by_check(cases: Iterable[CaseRecord]) -> list[tuple[str, list[CaseRecord]]]:
    groups: dict[str, list[CaseRecord]] = {}
    for case in cases:
        groups.setdefault(case.check, []).append(case)
    return list(groups.items())


def _comparisons(cases: Iterable[CaseRecord]) -> list[tuple[CaseRecord, Comparison]]:
    """(case, comparison) for every comparison of the cases that say something."""
    return [
        (case, comparison)
        for case in cases
        if case.status == "completed" and case.reading != "vacuous"
        for comparison in case.comparisons
    ]


def _carrying(cases: Sequence[CaseRecord]) -> Sequence[CaseRecord]:
    """The cases that carry the statement: those of the checks that prove it, or of all where none does."""
    return [case for case in cases if case.proves] or cases


def _grade(cases: Iterable[CaseRecord]) -> Grade | None:
    return max((comparison.grade for _, comparison in _comparisons(cases)), key=GRADES.index, default=None)


def _constants(cases: Iterable[CaseRecord]) -> tuple[Constant, ...]:
    constants: dict[str, Constant] = {}
    for _, comparison in _comparisons(cases):
        if comparison.kind != "constant":
            continue
        low = number(comparison.detail.get("largest", comparison.measured)) - comparison.tolerance
        high = number(comparison.detail.get("smallest", comparison.measured)) + comparison.tolerance
        if known := constants.get(comparison.name):
            low, high = max(low, known.low), min(high, known.high)
        constants[comparison.name] = Constant(comparison.name, comparison.predicted, low, high)
    return tuple(constants.values())


def _counts(cases: Iterable[CaseRecord]) -> dict[str, int]:
    """How many of the cases have each reading, or each status if they have none."""
    return dict(Counter(str(case.reading) if case.status == "completed" else case.status for case in cases))


def _worst(cases: Iterable[CaseRecord]) -> Worst | None:
    """The comparison that came nearest to failing: by its reading, then by how little of its allowance is left.

    That all is finite, or proved, comes near to nothing.
    """
    far = (("finite", "satisfied"), ("proved", "satisfied"))
    pairs = [pair for pair in _comparisons(cases) if (pair[1].kind, pair[1].reading) not in far]
    if not pairs:
        return None
    order = ("violated", "indeterminate", "satisfied")
    case, comparison = min(pairs, key=lambda pair: (order.index(pair[1].reading), pair[1].slack))
    return Worst(_name(case), comparison)
