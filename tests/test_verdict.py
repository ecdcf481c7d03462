"""The rules of the verdicts and their precedence, one table."""

import math
from dataclasses import replace

import pytest

from eosbench.records import CaseRecord, ClaimLine, Comparison, Requires, SourceRecord
from eosbench.verdict import explain, judge, read, wanted

CLAIM = ClaimLine(
    id="toy/claim",
    topic="toy",
    source=SourceRecord(document="toy", title="Toy", place="1"),
    printed="$x$",
    expected="holds",
    experiment="toy/claim",
    file="claims/toy/test_claim.py",
)


def record(reading="satisfied", kind="at_most", **fields):
    numbers = {"measured": 1.0, "predicted": 2.0, "tolerance": 0.0, "margin": 1.0, "uncertainty": 0.0, "slack": 0.5}
    return Comparison(**{"kind": kind, "name": "x", "reading": reading} | numbers | fields)


def case(told="satisfied", role="case", check="test_it", label="eta=1", **fields):
    """A case with this reading, or with this status if it did not complete."""
    completed = told in ("satisfied", "violated", "vacuous", "indeterminate")
    outcome = {"status": "completed", "reading": told} if completed else {"status": told, "reading": None}
    records = [record(told)] if completed else []
    planned = {"nodeid": f"{check}[{label}]", "claim": CLAIM.id, "check": check, "case": label, "role": role}
    return CaseRecord(**planned | {"records": records} | outcome | fields)


FIRED = case("violated", "control")
SILENT = case("satisfied", "control")
COUNTEREXAMPLE = case("violated", "counterexample")
POSITIVE = case("satisfied", "positive control")
BLUNT = case("violated", "positive control")


@pytest.mark.parametrize(
    ("cases", "corrected", "verdict"),
    [
        ([case(), case(), FIRED], None, "holds"),
        ([case(), case("vacuous"), FIRED], None, "vacuous"),
        ([case(), case("vacuous", check="it may be"), case(check="it may be"), FIRED], None, "holds"),
        ([case("deselected"), case("vacuous", check="it may be"), case(check="it may be"), FIRED], None, "partial"),
        ([case(), *2 * [case("vacuous", check="it may be")], case(check="it may be"), FIRED], None, "vacuous"),
        ([case("violated"), case("vacuous"), FIRED], None, "refuted"),
        ([case("violated"), case("vacuous"), POSITIVE], None, "inconclusive"),
        ([case(), FIRED, COUNTEREXAMPLE], "y", "corrected"),
        ([case(), FIRED, case("satisfied", "counterexample")], "y", "inconclusive"),
        ([case(), FIRED, case("vacuous", "counterexample")], "y", "inconclusive"),
        ([case(), FIRED, case("deselected", "counterexample")], "y", "partial"),
        ([case(), FIRED, COUNTEREXAMPLE], None, "refuted"),
        ([case(), case("violated"), FIRED], None, "refuted"),
        ([case("violated"), FIRED, COUNTEREXAMPLE], "y", "refuted"),
        ([case("violated"), POSITIVE], None, "refuted"),
        ([case("violated"), BLUNT], None, "inconclusive"),
        ([case("violated"), POSITIVE, SILENT], None, "inconclusive"),
        ([case("violated"), BLUNT, COUNTEREXAMPLE], None, "inconclusive"),
        ([case("violated"), POSITIVE, case(check="a step of the argument")], None, "refuted"),
        ([case("violated"), POSITIVE, case("violated", check="a step of the argument")], None, "inconclusive"),
        ([case("violated"), case("error"), SILENT], None, "refuted"),
        ([case(), SILENT], None, "inconclusive"),
        ([case(), FIRED, SILENT], None, "inconclusive"),
        ([case(), case("indeterminate", "control")], None, "inconclusive"),
        ([case(), case("vacuous", "control")], None, "inconclusive"),
        ([case()], None, "inconclusive"),
        ([case(), case("indeterminate"), FIRED], None, "inconclusive"),
        ([case("indeterminate"), case("crashed"), FIRED], None, "broken"),
        ([case(), case("error"), FIRED], None, "broken"),
        ([case(), case("timeout"), FIRED], None, "broken"),
        ([case(), case("lost"), FIRED], None, "broken"),
        ([case(), case("error", "control")], None, "broken"),
        ([case("vacuous"), FIRED], None, "vacuous"),
        ([case(check="a"), case("vacuous", check="b"), FIRED], None, "vacuous"),
        ([case("vacuous"), case("deselected", "control")], None, "vacuous"),
        ([case(), case("deselected"), FIRED], None, "partial"),
        ([case(), case("deselected", "control")], None, "partial"),
        ([case(), case("skipped"), FIRED], None, "partial"),
        ([case("violated"), case("deselected"), FIRED], None, "refuted"),
        ([case("deselected"), case("deselected", "control")], None, "not run"),
        ([case("lost"), case("lost", "control")], None, "not run"),
        ([], None, "not run"),
        ([case("skipped"), case("skipped", "control")], None, "out of scope"),
    ],
)
def test_verdict(cases, corrected, verdict):
    assert judge(replace(CLAIM, corrected=corrected, vacuous={"it may be": 1}), cases).verdict == verdict


@pytest.mark.parametrize(
    ("cases", "expected", "drift"),
    [
        ([case(), FIRED], "holds", False),
        ([case(), FIRED], "refuted", True),
        ([case("violated"), POSITIVE], "refuted", False),
        ([case("indeterminate"), FIRED], "inconclusive", False),
        ([case(), case("deselected"), FIRED], "holds", False),
        ([case("deselected")], "holds", False),
        ([case("lost")], "holds", True),
        ([case("skipped")], "holds", False),
        ([case("error")], "holds", True),
    ],
)
def test_drift(cases, expected, drift):
    assert judge(replace(CLAIM, expected=expected), cases).drift is drift


def test_out_of_scope_is_stated_with_its_reason():
    judged = judge(replace(CLAIM, out_of_scope="needs a GPU", expected="out of scope"), [])
    assert (judged.verdict, judged.reasons, judged.drift) == ("out of scope", ("needs a GPU",), False)


def test_reasons_name_case_and_numbers():
    judged = judge(CLAIM, [case("violated", records=[record("violated", measured=3.0, margin=-1.0)]), FIRED])
    assert judged.reasons == ("test_it[eta=1]: x 3 ≤ 2 is violated",)


def test_the_admissible_interval_is_intersected_over_the_cases_alone():
    def constant(measured, tolerance, **changes):
        return case(
            records=[record(kind="constant", measured=measured, predicted=0.25, tolerance=tolerance)], **changes
        )

    cases = [constant(0.2499, 0.0004), constant(0.2502, 0.0004), constant(9.0, 0.1, role="control"), FIRED]
    (found,) = judge(CLAIM, cases).constants
    assert (found.claimed, found.low, found.high) == pytest.approx((0.25, 0.2498, 0.2503))


def test_the_weakest_grade_counts_and_only_that_of_its_cases():
    proved, exact, measured = (case(records=[record(kind=kind)]) for kind in ("proved", "equal", "close"))
    assert judge(CLAIM, [proved, FIRED]).grade == "proved"
    assert judge(CLAIM, [proved, exact, FIRED]).grade == "exact"
    assert judge(CLAIM, [proved, exact, measured, FIRED]).grade == "measured"


def test_checks_that_prove_carry_the_grade_and_each_check_has_its_own():
    proof = case(records=[record(kind="proved")], check="test_proof", proves=True)
    beside = case(check="test_beside")
    judged = judge(CLAIM, [proof, beside, FIRED])
    assert judged.grade == "proved"
    assert judged.grades == {"test_proof": "proved", "test_beside": "measured"}
    within = case(check="test_proof", proves=True)
    assert judge(CLAIM, [proof, within, beside, FIRED]).grade == "measured"


def test_the_worst_comparison_has_the_least_slack():
    near, unclear = record(slack=0.1, name="near"), record("indeterminate", slack=0.9, name="unclear")
    assert judge(CLAIM, [case(records=[record(slack=0.5), near]), FIRED]).worst.comparison.name == "near"
    assert judge(CLAIM, [case("indeterminate", records=[near, unclear]), FIRED]).worst.comparison.name == "unclear"
    for kind in ("finite", "proved"):
        far = record(kind=kind, slack=0.0)
        assert judge(CLAIM, [case(records=[far, near]), FIRED]).worst.comparison.name == "near"


def test_vacuous_cases_are_counted_against_those_that_the_check_declares():
    unmet = case("vacuous", records=[Requires("0 < eta < 2", met=False), record()], label="eta=3")
    judged = judge(CLAIM, [case(), unmet, FIRED])
    assert (judged.verdict, judged.drift) == ("vacuous", True)
    assert judged.reasons == (
        "1 of 2 cases of test_it are vacuous where none may be: test_it[eta=3]: not met: 0 < eta < 2",
    )
    assert judge(replace(CLAIM, vacuous={"test_it": 1}), [case(), unmet, FIRED]).verdict == "holds"


@pytest.mark.parametrize("measured", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", ["control", "counterexample"])
def test_no_control_fires_through_a_value_that_is_not_finite(role, measured):
    lost = record("violated", measured=measured, margin=-math.inf)
    assert read([lost]) == "violated"
    assert read([lost], role) == "indeterminate"
    assert read([lost, record("violated", "finite", measured=3.0)], role) == "violated"
    assert "by a value that is not finite, which shows nothing" in explain([lost], "indeterminate")
    judged = judge(CLAIM, [case(), FIRED, case("indeterminate", role, records=[lost])])
    assert judged.verdict == "inconclusive"
    assert "not finite" in judged.reasons[0]


def test_read():
    unmet = Requires("h", met=False)
    assert read([record(), record("violated"), record("indeterminate")]) == "violated"
    assert read([record(), record("indeterminate")]) == "indeterminate"
    assert read([unmet, record("violated")]) == "vacuous"
    assert read([unmet, record("violated")], "counterexample") == "vacuous"
    assert read([unmet, record("violated")], "control") == "violated"
    with pytest.raises(ValueError, match="recorded no comparison"):
        read([unmet])


def test_the_admissible_interval_is_that_of_all_values():
    detail = {"smallest": 0.2498, "largest": 0.2503}
    worst = record(kind="constant", measured=0.2503, predicted=0.25, tolerance=1e-3, detail=detail)
    (constant,) = judge(CLAIM, [case(records=[worst]), FIRED]).constants
    assert (constant.low, constant.high) == (pytest.approx(0.2493), pytest.approx(0.2508))


def test_a_case_passes_where_the_expected_verdict_stays_in_reach():
    assert wanted("case", "holds") == ("satisfied",)
    assert wanted("case", "holds", vacuous=1) == ("satisfied", "vacuous")
    assert "vacuous" not in wanted("case", "refuted")
    assert "vacuous" in wanted("case", "vacuous")
    assert "violated" in wanted("case", "refuted")
    assert wanted("control", "refuted") == wanted("counterexample", "corrected") == ("violated",)
    assert wanted("positive control", "refuted") == ("satisfied",)


@pytest.mark.parametrize(
    ("control", "hypotheses", "verdict"),
    [
        ({"eta": 3.0}, [True], "inconclusive"),
        ({"eta": 3.0}, [True, False], "holds"),
        ({"eta": 3.0, "off": 0.1}, [True], "holds"),
        ({"eta": 3.0}, [], "holds"),
        ({"eta": 1.0}, [True], "holds"),
    ],
)
def test_a_control_that_breaks_nothing_would_be_a_counterexample(control, hypotheses, verdict):
    records = [*(Requires("eta < 2", met) for met in hypotheses), record("violated")]
    fired = case("violated", "control", label="control: more", params=control, records=records)
    judgement = judge(CLAIM, [case(params={"eta": 1.0}), case(params={"eta": 1.5}), fired])
    assert judgement.verdict == verdict
    assert ("meets every hypothesis" in " ".join(judgement.reasons)) == (verdict == "inconclusive")
