"""Formulas as the checkers read them."""

import pytest

from eosbench.checker.formulas import is_square_that_vanishes, parse


@pytest.mark.parametrize(
    ("formula", "at", "vanishes"),
    [
        ("(tanh(x) - tanh(1/2))**2", "1/2", True),
        ("(tanh(x) - tanh(1/2))**2", "3/5", False),
        ("(tanh(x) - tanh(1/2))**4", "1/2", False),
        ("(tanh(x) + tanh(1/2))**2", "1/2", False),
        ("(x*x - 1)**2", "1", False),
    ],
)
def test_a_square_vanishes_where_its_terms_are_the_same_to_the_letter(formula, at, vanishes):
    assert is_square_that_vanishes(parse(formula), at) is vanishes
