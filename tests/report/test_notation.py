import pytest

from eosbench.records import CaseRecord
from eosbench.report.notation import case_name, symbolic


def case(label, check):
    return CaseRecord(nodeid="", claim="toy/claim", check=check, case=label, role="case", status="completed")


def test_a_case_without_parameters_is_called_by_its_check():
    assert case_name(case("", "test_the_flow_stays")) == "the flow stays"


def test_the_numbers_of_a_case_are_as_short_as_they_may_be():
    name = "eta=1.0416666666666667,x=-0.3333333333333333e-05,seed=12345678"
    assert case_name(case(name, "test")) == "eta=1.04167,x=-3.33333e-6,seed=12345678"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("1 < eta <= 2", "1 < η ≤ 2"),
        ("eta lambda_1, theta²", "η λ_1, θ²"),
        ("beta version of a theta_grid", "β version of a theta_grid"),
        (r"meta, zetas and $\eta$ eta", r"meta, zetas and $\eta$ eta"),
    ],
)
def test_greek_letters_are_greek_where_they_are_letters(written, shown):
    assert symbolic(written) == shown
