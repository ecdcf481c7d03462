"""Identities with every entry a variable: what the prover expands, it expands exactly."""

from eosbench.proof import Identity, prove_identity


def failed(*statements, **more):
    return prove_identity(Identity(statements, "x y", {"A": ("n", "n"), "B": ("n", "n")}, **more)).failed


def test_identities_are_compared_coefficient_by_coefficient():
    assert failed(("square", "(x + y)**2", "=", "x**2 + 2*x*y + y**2")) == ()
    assert failed(("square", "(x + y)**2", "=", "x**2 + 51/25*x*y + y**2")) == ("square",)
    assert failed(("third", "1/3*x", "=", "x/3"), ("other", "x", "=", "y")) == ("other",)


def test_products_of_matrices_do_not_commute():
    assert failed(("transposes", "(A@B).T", "=", "B.T@A.T")) == ()
    assert failed(("product", "A@B", "=", "B@A")) == ("product",)


def test_what_is_given_may_be_used_and_nothing_more():
    use = {"given": (("x*y", "1"),), "remainder": {"it": "x*given1"}}
    assert failed(("it", "x**2*y", "=", "x"), **use) == ()
    assert failed(("it", "x**2*y", "=", "x + y"), **use) == ("it",)
    assert failed(("it", "x", "=", "y"), given=(("x*y", "1"),), remainder={"it": "x - y"}) == ("it",)


def test_an_inequality_is_an_identity_with_its_excess():
    assert failed(("it", "x**2 + y**2", ">=", "2*x*y"), excess={"it": "(x - y)**2"}) == ()
    assert failed(("it", "x**2 + y**2", ">=", "2*x*y"), excess={"it": "(x + y)**2"}) == ("it",)


def test_nothing_stated_is_nothing_proved():
    certificate = prove_identity(Identity(()))
    assert not certificate.verified
    assert prove_identity(Identity((("it", "1", "=", "2"),))).describe()["failed"] == "it"
