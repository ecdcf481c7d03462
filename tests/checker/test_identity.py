"""Identities in words: what is equal in normal form is equal for random matrices of many sizes, and conversely."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from eosbench.checker import check
from eosbench.proof import Identity, IdentityCertificate, prove_identity
from eosbench.proof import _identity as identity

SHAPES = {"A": ("m", "m"), "S": ("m", "m", "symmetric"), "B": ("m", "n"), "u": ("m", "1"), "w": ("n", "1")}


def random_formula(draw, depth, rows, columns):
    """A formula of this shape in the matrices of SHAPES and the scalars k and h."""
    kind = draw.choice(["sum", "product", "scaled", "letter"] if depth else ["letter"])
    if kind == "letter":
        fits = [name for name, (r, c, *_) in SHAPES.items() if (r, c) == (rows, columns)]
        fits += [f"{name}.T" for name, (r, c, *_) in SHAPES.items() if (c, r) == (rows, columns)]
        if fits:
            return draw.choice(fits)
        if (rows, columns) == ("1", "1"):
            return draw.choice(["k", "h", "2", "u.T@u"])
        kind = "product"
    if kind == "product":
        between = draw.choice(["m", "n", "1"]) if depth else "m"
        depth = max(depth - 1, 0)
        return (
            f"({random_formula(draw, depth, rows, between)})@({random_formula(draw, depth, between, columns)})"
            if ("1" not in (rows, columns) or between != "1")
            else random_formula(draw, 0, rows, columns)
        )
    if kind == "sum":
        first, second = (random_formula(draw, depth - 1, rows, columns) for _ in range(2))
        return f"({first}) {draw.choice('+-')} ({second})"
    return f"{draw.choice(['k', '3', '(h - k)'])}*({random_formula(draw, depth - 1, rows, columns)})"


def numeric(formula, sizes, seed):
    """A formula with random integers for all entries, which floats hold exactly as long as they are small."""
    draw = np.random.default_rng(seed)
    names = {"k": int(draw.integers(-3, 4)), "h": int(draw.integers(-3, 4))}
    for name, (rows, columns, *symmetric) in SHAPES.items():
        entries = draw.integers(-3, 4, (sizes[rows], sizes[columns])).astype(object)
        names[name] = entries + entries.T if symmetric else entries
    return np.asarray(eval(formula, {}, names))


def theorem(left, right):
    return Identity((("it", left, "=", right),), "k h", SHAPES).theorem


def accepted(left, right, **proof):
    stated = theorem(left, right)
    data = {"format": "eosbench-certificate/1", "kind": "identity", "proof": {"remainder": {}, "excess": {}, **proof}}
    return check({**data, "theorem": {k: v for k, v in stated.items() if k != "kind"}}, stated)


@pytest.mark.parametrize("seed", range(40))
def test_a_formula_is_zero_in_words_if_and_only_if_it_is_for_large_matrices(seed):
    """Compared with another by the checker; the converse takes sizes at which nothing vanishes by chance."""
    draw = random.Random(seed)
    rows, columns = draw.choice(["m", "n", "1"]), draw.choice(["m", "n"])
    first = random_formula(draw, 3, rows, columns)
    second = random_formula(draw, 3, rows, columns)
    both = f"({first}) + ({second})", f"({second}) + ({first})"
    assert accepted(*both).accepted
    sizes = [{"m": m, "n": n, "1": 1} for m, n in itertools.product((1, 2, 5), repeat=2)]
    draws = [(size, 3 * seed + k) for size in sizes for k in range(3)]
    equal = all((numeric(first, *at) == numeric(second, *at)).all() for at in draws)
    assert accepted(first, second).accepted == equal


TRUE = {
    "transposes": ("(A@B).T", "B.T@A.T"),
    "symmetry": ("(S@A).T", "A.T@S"),
    "a number is its own transpose": ("u.T@A@u", "u.T@A.T@u"),
    "numbers commute": ("(u.T@S@u)*(w.T@w)*A@u", "A@u@(w.T@w)@(u.T@S@u)"),
    "through the space of dimension one": ("u@w.T@w@u.T", "(w.T@w)*u@u.T"),
    "expansion": ("(A + S)@(A - S)", "A@A - A@S + S@A - S@S"),
}
FALSE = {
    "products commute": ("A@S", "S@A"),
    "a matrix is its own transpose": ("A", "A.T"),
    "a coefficient 2 % off": ("(k + h)**2", "k**2 + 51/25*k*h + h**2"),
    "vectors commute": ("u@w.T@w", "w.T@w*u + u*k"),
}


@pytest.mark.parametrize("name", TRUE)
def test_what_is_so_in_every_dimension_is_accepted(name):
    assert accepted(*TRUE[name]).accepted


@pytest.mark.parametrize("name", FALSE)
def test_what_is_not_so_is_refused(name):
    assert "differ by" in accepted(*FALSE[name]).reason


@pytest.mark.parametrize("name", ["products commute", "a matrix is its own transpose"])
def test_what_holds_for_numbers_alone_is_not_taken_for_one_of_matrices(monkeypatch, name):
    """A prover whose matrices are 1 x 1."""
    monkeypatch.setattr(identity, "SIZE", 1)
    planted = Identity((("it", *FALSE[name][:1], "=", FALSE[name][1]),), "k h", SHAPES)
    certificate = prove_identity(planted)
    assert certificate.verified
    assert "differ by" in check(certificate.data(), planted.theorem).reason


def test_what_holds_for_two_rows_alone_is_refused():
    """The square of A S - S A is a multiple of the identity for 2 x 2 matrices (Hall), all that the prover has."""
    bracket = "(A@S - S@A)"
    hall = Identity(
        (("Hall", f"{bracket}@{bracket}@A", "=", f"A@{bracket}@{bracket}"),), "", {"A": SHAPES["A"], "S": SHAPES["S"]}
    )
    certificate = prove_identity(hall)
    assert certificate.verified
    assert check(certificate.data(), hall.theorem).reason.startswith("the two sides of 'Hall' differ by")


GIVEN = Identity(
    (("sum", "x**2 + y**2", "=", "1 - 2*p"), ("more", "x**2 + y**2 + z**2", ">=", "1 - 2*p")),
    "x y z p",
    given=(("x + y", "1"), ("x*y", "p")),
    nonnegative="",
    remainder={
        "sum": "given1**2 + 2*given1 - 2*given2",
        "more": "given1**2 + 2*given1 - 2*given2",
    },
    excess={"more": "z**2"},
)


def refused(planted):
    """What the checker says, whatever the prover would."""
    found = check(IdentityCertificate(planted, ()).data(), planted.theorem)
    assert not found.accepted
    return found.reason


def test_what_is_given_may_be_used():
    assert prove_identity(GIVEN).verified
    assert check(prove_identity(GIVEN).data(), GIVEN.theorem).accepted


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"remainder": {}}, "the two sides of 'sum' differ by"),
        ({"remainder": {**GIVEN.remainder, "sum": "x**2 + y**2 - 1 + 2*p"}}, "the remainder of 'sum' does not vanish"),
        ({"excess": {}}, "the proof has no excess for 'more'"),
        ({"excess": {"more": "z**2", "sum": "z"}}, "the proof has a formula for 'sum', which is not stated so"),
        ({"given": (("x + y", "1"), ("x*y", "51/50*p"))}, "the two sides of 'sum' differ by"),
        ({"statements": ()}, "nothing is stated"),
        ({"statements": (("sum", "x", "<", "1"),)}, "the relation '<' of 'sum' is none of"),
        ({"scalars": "x y z"}, "the name 'p' stands for nothing"),
        ({"where": {"x": "y"}}, "the name 'x' is defined twice"),
        ({"positive": "q"}, "the sign of 'q' is given, which is no scalar"),
        ({"positive": "A", "matrices": {"A": ("n", "n")}}, "the sign of 'A' is given, which is no scalar"),
        ({"where": {"given1": "x"}}, "a definition is 'given1', which is no name"),
        ({"scalars": "x x y z p"}, "a name stands for two things"),
    ],
)
def test_a_damaged_proof_is_refused_with_the_reason(changes, reason):
    assert refused(replace(GIVEN, **changes)).startswith(reason)


@pytest.mark.parametrize(
    ("excess", "letter"),
    [
        ("x**2 + y", ">="),
        ("x", ">="),
        ("x**3", ">="),
        ("x**2", ">"),
        ("-x**2", ">="),
        ("x*x", ">="),  # a square, but not to the letter
        ("p*x", ">="),
        ("u.T@v", ">="),
    ],
)
def test_an_excess_that_is_not_signed_to_the_letter_is_refused(excess, letter):
    planted = Identity(
        (("it", excess, letter, "0"),), "x y p", {"u": ("n", "1"), "v": ("n", "1")}, positive="p", excess={"it": excess}
    )
    assert "to the letter" in refused(planted)


@pytest.mark.parametrize(
    ("excess", "letter"),
    [("x**2 + p*q", ">="), ("p + x**2", ">"), ("3/2*p**3*x**4", ">="), ("u.T@u + 1", ">"), ("(A@u).T@(A@u)", ">=")],
)
def test_squares_and_what_is_taken_to_be_so_are_signed(excess, letter):
    planted = Identity(
        (("it", excess, letter, "0"),),
        "x p q",
        {"u": ("n", "1"), "A": ("n", "n")},
        positive="p",
        nonnegative="q",
        excess={"it": excess},
    )
    assert check(prove_identity(planted).data(), planted.theorem).accepted


def test_a_matrix_that_is_a_product_with_its_transpose_is_no_number():
    planted = Identity((("it", "B.T@B", ">=", "B.T@B - B.T@B"),), "", {"B": ("m", "n")}, excess={"it": "B.T@B"})
    assert refused(planted) == "the excess of 'it' is no number"


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("A + u", "a sum of matrices of the shapes"),
        ("A*S", "which @ is for"),
        ("u@u", "do not fit"),
        ("A/u", "a quotient"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(formula, reason):
    assert reason in accepted(formula, "0").reason
