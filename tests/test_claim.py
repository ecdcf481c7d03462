"""A claim that is stated wrongly says so in one sentence that names the remedy."""

import asyncio
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.claim import Claim, ClaimError, Document, Source, check_of

TALK = Document("talk", "A talk")
SLIDE = Source(TALK, "slide 1")


def fresh():
    """A function that was never registered."""

    def test_eta(evidence, eta):
        pass

    return test_eta


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


@pytest.mark.parametrize("declared", [2, -1, True, 1.0])
def test_not_all_cases_can_be_declared_vacuous(declared):
    with pytest.raises(ClaimError, match="of the 2 cases of test_eta; give a whole number that leaves one"):
        claim().check(eta=[1, 2], vacuous=declared)(fresh())
    c = claim()
    c.check(eta=[1, 2], vacuous=1)(fresh())
    assert c.checks[0].vacuous == 1


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
        ({"expected": "corrected", "corrected": "y"}, "severity=None .* choose one of false, wrong constant, missing"),
        ({"expected": "refuted", "severity": "typo", "why": "w"}, "severity='typo' .* choose one of false"),
        ({"expected": "refuted", "severity": "false"}, "why=None, .* say in one sentence why it fails"),
        ({"severity": "slip"}, "severity='slip' is for a claim that is corrected or refuted, .* drop it"),
        ({"why": "w"}, "why='w' is for a claim that is corrected or refuted, and expected='holds'; drop it"),
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
    with pytest.raises(ClaimError, match=r"control 'off' of test_eta names the parameter 'nu'.*use one of eta"):
        claim().check(eta=[1], controls={"off": {"nu": 1}})(fresh())
    with pytest.raises(ClaimError, match="grid of test_eta names the parameter 'nu'"):
        claim().check(nu=[1])(fresh())
    with pytest.raises(ClaimError, match="counterexample test_eta names the parameter 'nu'"):
        claim().counterexample(nu=1)(fresh())


async def asynchronous(evidence):
    pass


async def asynchronous_generator(evidence):
    yield


def generator(evidence):
    yield


class Checks:
    def method(evidence):  # noqa: N805
        pass

    def bound(self, evidence):
        pass


def variadic(evidence, *etas):
    pass


def keywords(evidence, **etas):
    pass


def positional(evidence, /, eta):
    pass


def without(eta):
    pass


def nothing():
    pass


def optional(evidence=None):
    pass


def listed(evidence, seen=[]):  # noqa: B006
    pass


def nested(evidence, *, seen=(1, {})):
    pass


def drawn(evidence, rng=np.random.default_rng(0)):  # noqa: B008
    pass


def array(evidence, start=np.ones((2, 2))):  # noqa: B008
    pass


def iterated(evidence, values=iter((1, 2))):  # noqa: B008
    pass


NO_CHECKS = [
    (asynchronous, "asynchronous is asynchronous, and nothing awaits it; write def instead of async def"),
    (asynchronous_generator, "asynchronous_generator is asynchronous"),
    (generator, "generator has a `yield`, so that calling it runs none of it"),
    (Checks, "Checks is a type, and a check is a function"),
    (Checks.method, "method is a method of Checks; write it as a function of the module"),
    (Checks().bound, "bound is a method, and a check is a function"),
    (staticmethod(Checks.method), "method is a staticmethod, and a check is a function; write def test_"),
    (lambda evidence: None, "<lambda> is a lambda, and a check is a function"),
    (functools.partial(without, 1), "a check is a partial, and"),
    (jax.jit(without), "without is a PjitFunction, and"),
    (None, "a check is a NoneType, and"),
    (variadic, r"variadic takes \*etas; name each parameter"),
    (keywords, r"keywords takes \*\*etas; name each parameter"),
    (positional, "positional takes 'evidence' by position only; drop the `/`"),
    (without, "without must take `evidence` first, without a default"),
    (nothing, "nothing must take `evidence` first, without a default"),
    (optional, "optional must take `evidence` first, without a default"),
    (listed, r"listed has the default seen=\[\], which one case could change for the next; give a tuple"),
    (nested, r"nested has the default seen=\(1, {}\)"),
    (drawn, r"drawn has the default rng=Generator\(PCG64\)"),
    (array, "array has the default start=array"),
    (iterated, "iterated has the default values="),
]


@pytest.mark.parametrize(("function", "sentence"), NO_CHECKS, ids=[sentence[:20] for _, sentence in NO_CHECKS])
def test_what_is_no_plain_function_is_refused_where_it_is_registered(function, sentence):
    for register in (claim().check(), claim().counterexample()):
        with pytest.raises(ClaimError, match=sentence) as raised:
            register(function)
        assert "\n" not in str(raised.value)


def test_a_check_may_have_defaults_that_nothing_changes():
    @dataclasses.dataclass(frozen=True)
    class Fixed:
        x: float = 1.0

    two, fixed, ones = np.float64(2), Fixed(), jnp.ones(2)

    def test_it(evidence, a=1.0, b=(1, "two"), c=None, d=two, e=np.sin, f=fixed, g=ones, *, h=int):
        pass

    assert claim().check()(test_it) is test_it


def test_a_wrapper_that_keeps_the_signature_is_a_check():
    """What it wraps may be anything: it is the wrapper that is called."""

    @functools.wraps(asynchronous)
    def test_it(*arguments, **keywords):
        return asyncio.run(asynchronous(*arguments, **keywords))

    assert claim().check()(test_it) is test_it


def test_equal_cases_are_refused():
    with pytest.raises(ClaimError, match="has the case 'eta=1' twice"):
        claim().check(eta=[1, 1])(fresh())


def test_the_values_of_a_grid_have_names_that_stay():
    check = claim().check(eta=[np.float64(4 / 3), 4 / 3 + 1e-9])(fresh())
    assert check_of(check).cases[0].label == f"eta={4 / 3!r}"
    with pytest.raises(ClaimError, match="another one in every process"):
        claim().check(eta=[object()])(fresh())
    for values in (np.linspace(1, 2, 3), range(3)):
        with pytest.raises(ClaimError, match="is no axis of a grid"):
            claim().check(eta=values)(fresh())


def test_a_claim_needs_what_makes_its_verdict_mean_something():
    with pytest.raises(ClaimError, match="no case to run"):
        claim().validate()

    lone = claim()
    lone.check(eta=[1])(fresh())
    with pytest.raises(ClaimError, match="has no control"):
        lone.validate()

    refuted = claim(expected="refuted", severity="false", why="x = 3")
    refuted.check(eta=[1], controls={"off": {"eta": 2}})(fresh())
    with pytest.raises(ClaimError, match="no positive control"):
        refuted.validate()

    corrected = claim(expected="corrected", corrected="y", severity="slip")
    corrected.check(eta=[1], controls={"off": {"eta": 2}})(fresh())
    with pytest.raises(ClaimError, match="nothing shows the printed one wrong"):
        corrected.validate()

    claim(expected="out of scope", out_of_scope="needs a GPU").validate()


def test_a_function_belongs_to_one_check():
    c = claim()
    function = c.check(eta=[1])(fresh())
    with pytest.raises(ClaimError, match="registered twice"):
        c.check(eta=[2])(function)
