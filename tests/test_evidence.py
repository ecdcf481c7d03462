"""Readings follow the margin and the uncertainty, and what is not evidence is refused."""

import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from eosbench.claim import Case, Claim, Document, EvidenceError, Source
from eosbench.evidence import Evidence, OutOfScope
from eosbench.proof import Identity, IdentityCertificate, prove_identity
from eosbench.records import KINDS, Kind, to_json

EPS = np.finfo(float).eps


def new(experiment="", label="eta=1"):
    source = Source(Document("talk", "A talk"), "slide 1")
    claim = Claim("toy/claim", source=source, printed="x", expected="holds", experiment=experiment)
    return Evidence(claim, Case(label, "case", {}))


def reading(kind, *args, **kwargs):
    evidence = new()
    getattr(evidence, kind)("name", *args, **kwargs)
    json.dumps([to_json(record) for record in evidence.records], allow_nan=False)
    return evidence.records[-1].reading


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("at_most", (1.0, 2.0), "satisfied"),
        ("at_most", (2.0, 1.0), "violated"),
        ("at_most", (1.0, 1.0 + 2 * EPS), "indeterminate"),
        ("at_most", (3, 3), "satisfied"),  # integers carry no rounding
        ("at_least", (2.0, 1.0), "satisfied"),
        ("at_least", (1.0, 2.0), "violated"),
        ("at_least", (1.0, 1.0), "indeterminate"),
        ("close", (1.0, 1.05, 0.1), "satisfied"),
        ("close", (1.0, 1.2, 0.1), "violated"),
        ("close", (1.0, 1.1, 0.1), "indeterminate"),
        ("equal", (1.0 + 10 * EPS, 1.0), "satisfied"),
        ("equal", (1.0 + 1000 * EPS, 1.0), "violated"),
        ("equal", (1.0 + 64 * EPS, 1.0), "indeterminate"),
        ("monotone", ([3.0, 2.0, 1.0],), "satisfied"),
        ("monotone", ([3.0, 1.0, 2.0],), "violated"),
        ("monotone", ([1.0, 1.0],), "indeterminate"),
        ("at_most", (jnp.float32(1.0), 1.0 + 1e-9), "indeterminate"),  # single precision rounds more
        ("at_most", (np.array([0.0, 5.0, 1.0]), 2.0), "violated"),  # the worst entry counts
        ("constant", (0.25, 0.2501, 1e-3), "satisfied"),
        ("constant", (0.25, 0.26, 1e-3), "violated"),
        ("monotone", (np.array([3, 2, 1], np.uint8),), "satisfied"),  # differences do not wrap
        ("monotone", ([1, 1],), "satisfied"),  # not above is enough
    ],
)
def test_reading(kind, args, expected):
    assert reading(kind, *args) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("kind", "rest"), [("at_most", (1.0,)), ("at_least", (1.0,)), ("close", (1.0, 0.1)), ("equal", (1.0,))]
)
def test_a_measured_value_that_is_not_finite_violates(kind, rest, bad):
    assert reading(kind, bad, *rest) == "violated"
    assert reading(kind, np.array([1.0, bad, 1.0]), *rest) == "violated"


def test_a_run_that_diverged_is_recorded_by_how_many_entries_are_not_finite():
    evidence = new()
    evidence.finite("the iterates", [[1.0, np.nan], [np.inf, 2.0]])
    (record,) = evidence.records
    assert (record.name, record.measured, record.predicted) == ("the iterates: entries not finite", 2, 0)
    assert (record.reading, record.detail) == ("violated", {"entries": 4})
    assert reading("finite", jnp.arange(3.0)) == "satisfied"


def test_an_unbounded_uncertainty_decides_nothing():
    assert reading("at_most", 1.0, 2.0, uncertainty=np.inf) == "indeterminate"
    assert reading("at_most", 2.0, 1.0, uncertainty=np.inf) == "indeterminate"
    assert reading("at_most", np.nan, 2.0, uncertainty=np.inf) == "violated"
    for bad in (np.nan, -1.0):
        with pytest.raises(EvidenceError, match="uncertainty"):
            reading("at_most", 1.0, 2.0, uncertainty=bad)


def test_non_finite_sequences_and_fits_violate():
    assert reading("monotone", [1.0, np.nan, 0.0]) == "violated"
    assert reading("monotone", [np.inf, 1.0]) == "violated"
    assert reading("rate", [1.0, 2.0, 4.0], [1.0, np.nan, 4.0], exponent=1, tolerance=9) == "violated"
    assert reading("rate", [1.0, 2.0, 4.0], [1.0, 0.0, 4.0], exponent=1, tolerance=9) == "violated"
    assert reading("bounded_by", [1.0, np.nan, 1.0], [1.0, 0.5, 0.25], constant=9) == "violated"


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("at_most", (1.0, np.nan)),
        ("at_least", (1.0, np.inf)),
        ("close", (1.0, np.nan, 0.1)),
        ("close", (1.0, 1.0, np.nan)),
        ("equal", (1.0, np.nan)),
        ("constant", (np.nan, 1.0, 0.1)),
        ("at_most", ("1", 2.0)),
        ("at_most", (None, 2.0)),
        ("at_most", (True, 2.0)),
        ("at_most", (1j, 2.0)),
        ("at_most", ([], 2.0)),
        ("at_most", (np.zeros(3), np.zeros(2))),
        ("monotone", ([1.0],)),
        ("requires", (lambda: False,)),
        ("requires", ("False",)),
        ("requires", (np.nan,)),
        ("requires", (np.array([True, False]),)),
        ("equal", (2**53 + 1, 2**53)),
        ("close", (1.0, 1.0, -0.1)),  # a control would fire through it
        ("constant", (1.0, 1.0, -0.1)),
    ],
)
def test_what_is_not_evidence_is_refused_in_one_sentence(kind, args):
    with pytest.raises(EvidenceError, match="'name': ") as raised:
        reading(kind, *args)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "args", "options"),
    [
        ("equal", (1.0, 99.0), {"ulps": np.nan}),
        ("equal", (1.0, 99.0), {"ulps": np.inf}),
        ("equal", (1.0, 1.0), {"ulps": 4}),
        ("rate", ([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]), {"exponent": 1, "tolerance": -1}),
        ("bounded_by", ([1.0, 0.5, 0.25], [1.0, 0.5, 0.25]), {"constant": -1}),
        ("fraction", (3, 5), {"at_least": 60}),
        ("fraction", (3, 5), {"at_least": 0.5, "confidence": 95}),
        ("fraction", (3.5, 5), {"at_least": 0.5}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": ("x",)}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": "xy"}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": ("x", "y"), "style": "dots"}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": ("x", "y"), "scale": "log"}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": ("x", "y"), "spread": [0.1, -0.1]}),
        ("series", ([1.0, 2.0], [1.0, 2.0]), {"axes": ("x", "y"), "spread": [0.1, 0.1, 0.1]}),
    ],
)
def test_options_that_mean_nothing_are_refused_in_one_sentence(kind, args, options):
    with pytest.raises(EvidenceError, match=f"'name': .*{next(reversed(options))}|'name': k=") as raised:
        reading(kind, *args, **options)
    assert "\n" not in str(raised.value)


X = np.linspace(-2, 2, 41)


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray, list], ids=["numpy", "jax", "list"])
def test_a_statement_with_iff_compares_truth_values_entry_by_entry(of):
    """x^2 > 1 if and only if |x| > 1, and not if and only if x > 1: that is wrong below -1, in ten entries."""
    assert reading("equal", of(X**2 > 1), of(np.abs(X) > 1)) == "satisfied"
    evidence = new()
    evidence.equal("rises iff", of(X**2 > 1), of(X > 1))
    record = evidence.records[-1]
    assert (record.reading, record.measured, record.predicted, record.margin) == ("violated", 1, 0, -1)
    assert (record.uncertainty, record.tolerance, record.detail["worst of"]) == (0, 0, 41)


@pytest.mark.parametrize(
    ("measured", "predicted"), [(True, False), (np.bool_(False), True), ([True, True], [True, False])]
)
def test_one_truth_value_that_differs_violates(measured, predicted):
    assert reading("equal", measured, predicted) == "violated"
    assert reading("equal", measured, measured) == "satisfied"
    assert reading("equal", np.asarray(measured), np.asarray(measured).astype(int)) == "satisfied"


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("close", ([True], [True], 0.1)),
        ("at_most", (np.bool_(True), 2.0)),
        ("at_least", (jnp.array([True]), 0.0)),
        ("at_least", (1.0, True)),
        ("monotone", ([True, False],)),
        ("constant", (1.0, True, 0.1)),
        ("equal", (1.0, 1.0)),
    ],
)
def test_a_truth_value_elsewhere_is_refused_with_the_remedy(kind, args):
    options = {"ulps": True} if kind == "equal" else {}
    with pytest.raises(EvidenceError, match=r"is Boolean; compare truth values with evidence\.equal"):
        reading(kind, *args, **options)


def test_a_name_is_a_string():
    for record in (
        lambda e: e.requires(None, True),
        lambda e: e.at_most(None, 1.0, 2.0),
        lambda e: e.series(3, [1.0, 2.0], [1.0, 2.0], axes=("x", "y")),
    ):
        with pytest.raises(EvidenceError, match="give a string"):
            record(new())


def test_a_rate_is_the_slope_with_its_standard_error():
    x = np.geomspace(1e-3, 1, 20)
    y = 3 * x**2 * np.exp(0.01 * np.random.default_rng(0).standard_normal(20))
    evidence = new()
    evidence.rate("order", x, y, exponent=2, tolerance=0.1)
    fit = stats.linregress(np.log(x), np.log(y))
    record = evidence.records[0]
    assert record.measured == pytest.approx(fit.slope, rel=1e-12)
    assert record.uncertainty == pytest.approx(fit.stderr, rel=1e-9)
    assert record.reading == "satisfied"
    assert reading("rate", x, y, exponent=1.5, tolerance=0.1) == "violated"


def test_an_order_statement_needs_a_bound_and_a_ratio_that_does_not_grow():
    g = np.geomspace(1e-4, 1, 9)
    assert reading("bounded_by", 2 * g, g, constant=3) == "satisfied"
    assert reading("bounded_by", 2 * np.sqrt(g), g, constant=1e9) == "violated"  # not O(g), however large the constant
    evidence = new()
    evidence.bounded_by("residual", 2 * g, g, constant=1)
    assert [record.reading for record in evidence.records] == ["violated", "satisfied"]


def test_fractions_are_read_by_their_exact_bounds():
    evidence = new()
    evidence.fraction("runs", 59, 59, at_least=0.95)
    evidence.fraction("runs", 58, 58, at_least=0.95)
    evidence.fraction("runs", 10, 59, at_least=0.95)
    assert [record.reading for record in evidence.records] == ["satisfied", "indeterminate", "violated"]
    detail = evidence.records[2].detail
    exact = stats.binomtest(10, 59).proportion_ci(confidence_level=0.90, method="exact")  # two one-sided 95 % bounds
    assert (detail["lower bound"], detail["upper bound"]) == pytest.approx((exact.low, exact.high), rel=1e-9)
    with pytest.raises(EvidenceError, match="no fraction"):
        evidence.fraction("runs", 3, 2, at_least=0.5)


def test_what_is_out_of_scope_hides_no_comparison():
    e = new()
    e.requires("a hypothesis", True)
    e.at_most("x", 2.0, 1.0)
    with pytest.raises(EvidenceError, match="comes after a comparison, which it would hide; call it first"):
        e.out_of_scope("it needs a GPU; use one")


def test_what_is_out_of_scope_ends_the_case_with_its_reason():
    assert new().scale == "small"
    with pytest.raises(OutOfScope, match="it needs a GPU; use one"):
        new().out_of_scope("it needs a GPU; use one")


SQUARE = Identity((("square", "(x + y)**2", "=", "x**2 + 2*x*y + y**2"),), "x y")
WRONG = Identity((("square", "(x + y)**2", "=", "x**2 + 101/50*x*y + y**2"),), "x y")  # by 1 %


def test_certificates_are_evidence_and_kept():
    evidence = new()
    evidence.proved("a square", prove_identity(SQUARE), SQUARE.theorem)
    (record,) = evidence.records
    assert record.reading == "satisfied"
    assert record.detail["count"] == record.detail["checked: statements"] == 1
    kept = record.certificate
    assert kept.file.startswith("certificates/toy/claim/eta=1-a-square-")
    assert hashlib.sha256(kept.content.encode()).hexdigest() == kept.sha256
    assert json.loads(kept.content)["theorem"]["statements"] == [list(SQUARE.statements[0])]


def test_what_neither_prover_nor_checker_accepts_is_violated():
    evidence = new()
    evidence.proved("a square", prove_identity(WRONG), WRONG.theorem)
    (record,) = evidence.records
    assert record.reading == "violated"
    assert record.certificate is None
    assert record.detail["checked: refused"] == "the two sides of 'square' differ by -1/50*x*y"


@pytest.mark.parametrize(
    ("identity", "failed", "theorem", "message"),
    [
        (WRONG, (), WRONG.theorem, "the prover takes it for proved, and the checker refuses it: the two sides"),
        (SQUARE, ("square",), SQUARE.theorem, "the checker accepts the certificate, and the prover does not"),
        (SQUARE, (), WRONG.theorem, "refuses it: the certificate states another theorem: statements"),
        (SQUARE, (), {**SQUARE.theorem, "kind": "trap"}, "another theorem: kind is identity, not trap"),
    ],
)
def test_a_prover_and_a_checker_that_differ_are_an_error(identity, failed, theorem, message):
    with pytest.raises(EvidenceError, match=message):
        new().proved("a square", IdentityCertificate(identity, failed), theorem)


def test_seeds_depend_on_experiment_case_and_replicate_alone():
    seeds = {new("a").seed(), new("b").seed(), new("a").seed(1), new("a", "eta=2").seed()}
    assert len(seeds) == 4
    assert new("a").seed() in seeds
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert new("a").seed() == 1705648830  # for ever: a change of seeds is a change of every result


def test_shapes_that_differ_are_told():
    with pytest.raises(EvidenceError, match=r"differ: measured \(3,\), compared with \(2,\); give one shape"):
        new().at_most("error", [1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(EvidenceError, match=r"differ: measured \(3,\), tolerance \(2,\)"):
        new().close("error", [1.0, 2.0, 3.0], 1.0, [1.0, 2.0])


def test_a_control_draws_the_seeds_of_the_case_that_it_changes():
    claim = Claim("toy/claim", source=Source(Document("talk", "A talk"), "slide 1"), printed="x", expected="holds")

    @claim.check(eta=[1.0, 2.0], controls={"more": {"eta": 3.0}, "less": {"off": 0.1}})
    def test_it(evidence, eta, off=0.0):
        pass

    seeds = {case.label: Evidence(claim, case).seed() for check in claim.checks for case in check.cases}
    assert seeds["control: more"] == seeds["control: less"] == seeds["eta=1"] != seeds["eta=2"]


def test_long_curves_keep_their_spikes():
    y = np.zeros(100_000)
    y[31_415], y[92_653] = 7.0, -3.0
    evidence = new()
    evidence.series("spikes", np.arange(y.size), y, axes=("step", "loss"))
    curve = evidence.curves[0]
    assert len(curve.y) <= 600
    assert (max(curve.y), min(curve.y)) == (7.0, -3.0)
    assert curve.x[curve.y.index(7.0)] == 31_415
    assert (curve.x[0], curve.x[-1]) == (0, 99_999)


@pytest.mark.parametrize("last", [0, 1, 777, 12_345, 99_998, 99_999])
def test_a_long_curve_keeps_where_it_ceases_to_be_finite(last):
    y = np.where(np.arange(100_000) <= last, 1.0, np.inf)
    evidence = new()
    evidence.series("loss", np.arange(y.size), y, axes=("step", "loss"))
    curve = evidence.curves[0]
    assert len(curve.y) <= 600
    assert max(x for x, y in zip(curve.x, curve.y, strict=True) if np.isfinite(y)) == last
    assert min((x for x, y in zip(curve.x, curve.y, strict=True) if np.isinf(y)), default=100_000) == last + 1


def test_curves_survive_divergence():
    evidence = new()
    evidence.series("loss", [0, 1, 2], [1.0, np.inf, np.nan], axes=("step", "loss"), spread=0.5)
    assert to_json(evidence.curves[0])["y"] == [1.0, "inf", "nan"]
    assert evidence.curves[0].spread == [0.5, 0.5, 0.5]


def test_products_add_up():
    evidence = new()
    evidence.spent(np.array([3, 4]))
    evidence.spent(5)
    assert evidence.products == 12
    with pytest.raises(EvidenceError, match="products must be a number"):
        evidence.spent("many")


@pytest.mark.parametrize(
    ("sign", "measured", "margin"),
    [("≤", 1.0, 2.0), ("≤", 4.0, -1.0), ("≥", 4.0, 1.0), ("=", 4.0, -0.5), ("=", 3.0, 0.5)],
)
def test_the_sign_of_a_kind_decides_its_margin(sign, measured, margin, monkeypatch):
    monkeypatch.setitem(KINDS, "new", Kind(sign))
    e = new()
    e._compare("new", "x", np.array(measured), np.array(3.0), tolerance=0.5)
    assert (e.records[0].margin, e.records[0].sign) == (margin, sign)


def test_a_kind_that_is_in_no_row_cannot_be_recorded():
    with pytest.raises(KeyError, match="at_mots"):
        new()._compare("at_mots", "x", np.array(1.0), np.array(3.0))
