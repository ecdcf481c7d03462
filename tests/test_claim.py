"""A claim that is stated wrongly says so in one sentence that names the remedy."""

import numpy as np
import pytest

from eosbench.claim import Claim, ClaimError, Document, Source, check_of

TALK = Document("talk", "A talk")
SLIDE = Source(TALK, "slide 1")


def claim(**changes):
    return Claim("toy/claim", **({"source": SLIDE, "printed": "x", "expected": "holds"} | changes))


def test_cases_are_the_grid_and_controls_start_from_its_first_point():
    c = claim()

    @c.check(eta=[0.1, 0.2], k=[1, 2], etas=(1, 2), controls={"too large": {"eta": 9.0, "scale": 2.0}})
    def test_it(evidence, eta, k, etas, scale=1.0):
        pass

    cases = check_of(test_it).cases
    assert [case.label for case in cases] == [
        "eta=0.1,k=1,etas=(1 2)",
        "eta=0.1,k=2,etas=(1 2)",
        "eta=0.2,k=1,etas=(1 2)",
        "eta=0.2,k=2,etas=(1 2)",
        "control: too large",
    ]
    assert cases[-1].params == {"eta": 9.0, "k": 1, "etas": (1, 2), "scale": 2.0}
    assert cases[0].params == {"eta": 0.1, "k": 1, "etas": (1, 2)}
    c.validate()


def test_labels_tell_nearby_floats_apart():
    c = claim()

    @c.check(x=[25 / 24, 25 / 24 + 1e-12], y=(1, 2, 3, 4))
    def test_it(evidence, x, y):
        pass

    assert [case.label for case in check_of(test_it).cases] == [
        "x=1.0416666666666667,y=(1..4)",
        "x=1.0416666666676668,y=(1..4)",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "talk"}, "names no known document"),
        ({"source": Source(None, "slide 1")}, "names no known document"),
        ({"expected": "true"}, "is no verdict"),
        ({"expected": "corrected"}, "needs the true statement"),
        ({"expected": "out of scope"}, "give both or neither"),
        ({"out_of_scope": "no GPU"}, "give both or neither"),
        ({"uses": "toy/other"}, "names no claims"),
        ({"uses": ("other",)}, "names no claims"),
    ],
)
def test_arguments_are_checked(changes, words):
    with pytest.raises(ClaimError, match=words) as raised:
        claim(**changes)
    assert "'toy/claim'" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["quartic", "Orbit/quartic", "orbit/", "orbit/a_b", 3])
def test_ids_have_a_topic_and_a_name(name):
    with pytest.raises(ClaimError, match="an id reads 'topic/name'"):
        Claim(name, source=SLIDE, printed="x", expected="holds")


def test_unknown_parameters_are_named():
    with pytest.raises(ClaimError, match=r"control 'off' of <lambda> names the parameter 'nu'.*use one of eta"):
        claim().check(eta=[1], controls={"off": {"nu": 1}})(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="grid of <lambda> names the parameter 'nu'"):
        claim().check(nu=[1])(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="counterexample <lambda> names the parameter 'nu'"):
        claim().counterexample(nu=1)(lambda evidence: None)
    with pytest.raises(ClaimError, match="must take `evidence` first"):
        claim().check(eta=[1])(lambda eta: None)


def test_equal_cases_are_refused():
    with pytest.raises(ClaimError, match="has the case 'eta=1' twice"):
        claim().check(eta=[1, 1])(lambda evidence, eta: None)


def test_the_values_of_a_grid_have_names_that_stay():
    check = claim().check(eta=[np.float64(4 / 3), 4 / 3 + 1e-9])(lambda evidence, eta: None)
    assert check_of(check).cases[0].label == f"eta={4 / 3!r}"
    with pytest.raises(ClaimError, match="another one in every process"):
        claim().check(eta=[object()])(lambda evidence, eta: None)
    for values in (np.linspace(1, 2, 3), range(3)):
        with pytest.raises(ClaimError, match="is no axis of a grid"):
            claim().check(eta=values)(lambda evidence, eta: None)


def test_a_claim_needs_what_makes_its_verdict_mean_something():
    with pytest.raises(ClaimError, match="no case to run"):
        claim().validate()

    lone = claim()
    lone.check(eta=[1])(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="has no control"):
        lone.validate()

    refuted = claim(expected="refuted")
    refuted.check(eta=[1], controls={"off": {"eta": 2}})(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="no positive control"):
        refuted.validate()

    corrected = claim(expected="corrected", corrected="y")
    corrected.check(eta=[1], controls={"off": {"eta": 2}})(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="nothing shows the printed one wrong"):
        corrected.validate()

    claim(expected="out of scope", out_of_scope="needs a GPU").validate()


def test_a_function_belongs_to_one_check():
    c = claim()
    function = c.check(eta=[1])(lambda evidence, eta: None)
    with pytest.raises(ClaimError, match="registered twice"):
        c.check(eta=[2])(function)
