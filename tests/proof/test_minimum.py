from fractions import Fraction
from itertools import pairwise

import pytest

from eosbench.proof import prove_minimum

UP_TO = Fraction(2) ** 30
ABOVE_MINUS_ONE = (1 / UP_TO - 1, UP_TO)


def excess(w):
    """w - ln(1 + w)"""
    return w - (1 + w).log()


def test_the_logarithm_lies_below_its_tangent():
    certificate = prove_minimum("w - ln(1 + w)", excess, Fraction(0), ABOVE_MINUS_ONE)
    assert certificate.verified
    assert certificate.describe()["cells"] > 10


def test_a_second_checker_agrees_cell_by_cell():
    cells = prove_minimum("w - ln(1 + w)", excess, Fraction(0), ABOVE_MINUS_ONE).cells
    assert (cells[0], cells[-1]) == ABOVE_MINUS_ONE
    for low, high in pairwise(cells):
        assert low < high
        assert 1 + low > 0  # there the second derivative, 1/(1 + w)², is at least 1/(1 + high)²


@pytest.mark.parametrize(
    "formula",
    [
        pytest.param(lambda w: w - (1 + 2 * w).log(), id="another slope"),
        pytest.param(lambda w: w - (1 + w).log() + 1, id="another value"),
        pytest.param(lambda w: (1 + w).log() - w, id="concave"),
        pytest.param(lambda w: w * w * w, id="an inflection"),
    ],
)
def test_what_is_not_so_is_not_proved(formula):
    assert not prove_minimum("planted", formula, Fraction(0), (Fraction(-1, 4), Fraction(1))).verified


def test_a_point_outside_the_domain_proves_nothing():
    assert not prove_minimum("w - ln(1 + w)", excess, Fraction(0), (Fraction(1), Fraction(2))).verified
