"""Laws that readings and verdicts obey whatever the numbers and the cases are, on examples that hypothesis makes up.

The numbers compared are whole multiples of a power of two, few enough that every sum and every uncertainty is exact: a
law then holds to the last bit, also where the margin is just as large as the uncertainty.
"""

import itertools
import operator
from typing import NamedTuple

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eosbench import records
from eosbench.claim import Case, Claim, Document, Source
from eosbench.evidence import Evidence
from eosbench.verdict import judge

# The same examples in every run, and no bound on the time that one takes.
law = settings(derandomize=True, deadline=None, database=None, max_examples=200)

SEVERITY = ("satisfied", "indeterminate", "violated")


def new():
    source = Source(Document("talk", "A talk"), "slide 1")
    return Evidence(Claim("toy/claim", source=source, printed="x", expected="holds"), Case("", "case", {}))


# --- readings --------------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """A precision: its type, the bits of its whole numbers here, and the exponents by which those may be scaled."""

    dtype: type
    bits: int
    exponents: tuple[int, int]


FORMATS = (Format(np.float64, 52, (-1000, 960)), Format(np.float32, 23, (-126, 100)))
KINDS = ("at_most", "at_least", "close", "constant", "equal")


class Comparison(NamedTuple):
    """A comparison of a measured value, or of an array of them; the numbers are whole."""

    kind: str
    format: Format
    measured: list[int]
    predicted: list[int]
    tolerance: list[int]
    uncertainty: list[int] | None

    def record(self, measured=None, *, entries=None, exponent=0):
        """What `Evidence` records of it, of some of its entries alone or scaled by a power of two."""
        measured = self.measured if measured is None else measured

        def array(numbers):
            chosen = numbers if entries is None else [numbers[i] for i in entries]
            return np.ldexp(np.array(chosen, self.format.dtype), exponent)

        arguments = [array(measured), array(self.predicted)]
        options = {} if self.uncertainty is None else {"uncertainty": array(self.uncertainty)}
        if self.kind == "constant":
            arguments.reverse()
        if self.kind in ("close", "constant"):
            arguments.append(array(self.tolerance))
        if self.kind == "equal" and entries is not None:  # a unit of rounding is by default that of the largest entry
            options = {"scale": float(max(abs(n) for n in (*measured, *self.predicted) if np.isfinite(n)))}
        evidence = new()
        getattr(evidence, self.kind)("x", *arguments, **options)
        return evidence.records[0]

    def inward(self, by):
        """The measured values moved further inside by so much, but not beyond what is predicted."""
        if self.kind in ("at_most", "at_least"):
            return [m - by if self.kind == "at_most" else m + by for m in self.measured]
        pairs = zip(self.measured, self.predicted, strict=True)
        return [max(p, m - by) if m > p else min(p, m + by) for m, p in pairs]


@st.composite
def comparisons(draw):
    """Comparisons of every kind, most of which have a margin about as large as the uncertainty."""
    kind, form = draw(st.sampled_from(KINDS)), draw(st.sampled_from(FORMATS))
    few, limit = 6, 2 ** (form.bits - 1)  # the uncertainty of the largest number is 4
    large = st.integers(0, limit // 2).map(lambda less: limit - less)
    number = st.integers(-few, few) | large | large.map(operator.neg)
    margin = st.integers(draw(st.sampled_from((-few, 0))), few)
    entries = []
    for _ in range(draw(st.integers(1, 4))):
        predicted, tolerance = draw(number), abs(draw(number)) // 4 if kind in ("close", "constant") else 0
        outward = -1 if kind == "at_least" or (kind != "at_most" and draw(st.booleans())) else 1
        measured = predicted + outward * (tolerance - draw(margin)) if draw(st.integers(0, 5)) else draw(number)
        entries.append((max(-limit, min(limit, measured)), predicted, tolerance, draw(st.integers(0, few))))
    measured, predicted, tolerance, uncertainty = ([*column] for column in zip(*entries, strict=True))
    given = kind != "equal" and draw(st.booleans())
    return Comparison(kind, form, measured, predicted, tolerance, uncertainty if given else None)


@law
@given(comparisons(), st.integers(0, 12) | st.integers(0, 2**21))
def test_a_value_further_inside_never_reads_worse(comparison, by):
    before, after = comparison.record(), comparison.record(comparison.inward(by))
    assert SEVERITY.index(after.reading) <= SEVERITY.index(before.reading)


@law
@given(comparisons(), st.data())
def test_a_power_of_two_is_no_matter(comparison, data):
    exponent = data.draw(st.integers(*comparison.format.exponents))
    here, scaled = comparison.record(), comparison.record(exponent=exponent)
    assert (here.reading, here.slack) == (scaled.reading, scaled.slack)
    for key in ("measured", "predicted", "tolerance", "margin", "uncertainty"):
        assert np.ldexp(getattr(here, key), exponent) == getattr(scaled, key)


@law
@given(comparisons(), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 9))
def test_an_array_reads_as_the_worst_of_its_entries(comparison, not_finite, at):
    measured = [not_finite if i == at else m for i, m in enumerate(comparison.measured)]
    entries = [comparison.record(measured, entries=[i]) for i in range(len(measured))]
    severest = max((record.reading for record in entries), key=SEVERITY.index)
    together = comparison.record(measured)
    assert together.reading == severest
    margins = [float(record.margin) for record in entries if record.reading == severest]
    assert float(together.margin) == min(margins)


@law
@given(comparisons())
def test_the_order_of_entries_is_no_matter(comparison):
    here = comparison.record()
    for order in itertools.permutations(range(len(comparison.measured))):
        there = comparison.record(entries=order)
        assert all(getattr(here, key) == getattr(there, key) for key in ("reading", "margin", "detail"))


@settings(law, max_examples=20)
@given(st.integers(1, 60), st.floats(0.05, 0.95))
def test_more_successes_never_read_worse(n, goal):
    evidence = new()
    for k in range(n + 1):
        evidence.fraction("x", k, n, at_least=goal)
    severities = [SEVERITY.index(record.reading) for record in evidence.records]
    assert severities == sorted(severities, reverse=True)


# --- verdicts --------------------------------------------------------------------------------------------------------

# From good to bad. A claim of which nothing ran is nowhere among them.
RANKS = ("holds", "partial", "out of scope", "vacuous", "inconclusive", "broken", "refuted")
READINGS = ("satisfied", "violated", "vacuous", "indeterminate")
TOLD = (*READINGS, "error", "timeout", "crashed", "lost", "deselected", "skipped")
# What a case of each role reads in a claim that holds.
WELL = {
    "control": ("violated",),
    "positive control": ("satisfied",),
    "counterexample": ("violated",),
    "case": ("satisfied", "vacuous"),
}


@st.composite
def cases(draw, told, role="case"):
    """A case with this reading, or with this status where it did not complete."""
    measured, numbers = draw(st.integers(-2, 2)), {"predicted": 0, "tolerance": 4, "margin": 1, "uncertainty": 0}
    kind = draw(st.sampled_from(("at_most", "equal", "proved", "constant")))
    check, label = draw(st.sampled_from("ab")), draw(st.sampled_from("xyz"))
    planned = {"nodeid": f"{check}[{label}]", "claim": "toy/claim", "check": check, "case": label, "role": role}
    if told not in READINGS:
        return records.CaseRecord(**planned, status=told)
    slack = 1 - abs(measured) / 4
    record = records.Comparison(kind=kind, name="x", reading=told, measured=measured, slack=slack, **numbers)
    return records.CaseRecord(**planned, status="completed", reading=told, records=[record])


@st.composite
def claims(draw):
    """The cases of a claim that has a control, as each must; most read as in one that holds, for the last rules."""
    roles = [draw(st.sampled_from(("control", "positive control")))]
    roles += draw(st.lists(st.sampled_from(("case", "case", "case", *WELL)), min_size=1, max_size=5))
    others = draw(st.sampled_from((READINGS, ("deselected", "skipped"), TOLD)))
    told = [draw(st.sampled_from(6 * WELL[role] + others)) for role in roles]
    return [draw(cases(*both)) for both in zip(told, roles, strict=True)]


FORMS = st.sampled_from((None, "the corrected form"))


def judged(corrected, found):
    source = Source(Document("talk", "A talk"), "slide 1")
    claim = Claim("toy/claim", source=source, printed="x", expected="holds", corrected=corrected)
    return judge(records.claim_line(claim, "claims/toy/test_claim.py"), found)


def rank(corrected, found):
    verdict = judged(corrected, found).verdict
    assume(verdict != "not run")
    return RANKS.index("holds" if verdict == "corrected" else verdict)


@law
@given(FORMS, claims(), cases("satisfied"))
def test_a_satisfied_case_more_never_makes_the_verdict_worse(corrected, found, more):
    assert rank(corrected, [*found, more]) <= rank(corrected, found)


@law
@given(FORMS, claims(), cases("violated"))
def test_a_violated_case_more_never_makes_the_verdict_better(corrected, found, more):
    """Unless it is a step of the argument, in a claim that has positive controls: that can take a refutation back."""
    sharp = {case.check for case in found if case.role == "positive control"}
    after = rank(corrected, [*found, more])
    assert after >= RANKS.index("inconclusive")
    if not sharp or more.check in sharp:
        assert after >= rank(corrected, found)


@law
@given(FORMS, claims())
def test_the_order_of_cases_is_no_matter(corrected, found):
    here = judged(corrected, found)
    slack = here.worst and here.worst.comparison.slack
    for order in itertools.islice(itertools.permutations(found), 0, None, 7):
        there = judged(corrected, order)
        for name in ("verdict", "drift", "grade", "constants", "counts"):
            assert getattr(here, name) == getattr(there, name)
        for name in ("reasons", "controls"):
            assert sorted(getattr(here, name)) == sorted(getattr(there, name))
        assert (there.worst and there.worst.comparison.slack) == slack
