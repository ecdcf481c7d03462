"""The stability of a step with one vector of memory, beside the roots of its matrix by NumPy."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from eosbench.checker import check
from eosbench.proof import jury_identity, prove_identity

HEAVY_BALL = {
    "step": {"g": "A@x", "m1": "b*m + g", "x1": "x - eta*m1"},
    "x": ("1", "-eta*b", "-eta"),
    "m": ("0", "b", "1"),
    "excess": {"factor": "1", "p(1)": "eta*la", "1 - determinant": "d", "1 + determinant": "1 + b"},
    "remainder": {"1 - determinant": "-given3"},
}


def statement(identity, name):
    return next(entry for entry in identity.statements if entry[0] == name)


@pytest.mark.parametrize(("beta", "product"), [(0.5, 2.9), (0.5, 3.1), (0.9, 3.79), (0.9, 3.81), (0.0, 2.1)])
def test_the_sign_at_minus_one_tells_whether_a_root_is_outside(beta, product):
    identity = jury_identity(**HEAVY_BALL, edge=("1", "2 + 2*b"))
    _, polynomial, _, threshold = statement(identity, "p(-1)")
    numbers = {"eta": 0.1, "la": 10 * product, "b": beta}
    step = np.array([[1 - product, -0.1 * beta], [10 * product, beta]])
    at_minus_one = np.polyval(np.poly(step), -1)
    np.testing.assert_allclose([eval(polynomial, numbers), eval(threshold, numbers)], at_minus_one)
    assert (np.abs(np.linalg.eigvals(step)).max() > 1) == (at_minus_one < 0)


def test_the_heavy_ball_is_proved_and_its_certificate_accepted():
    identity = jury_identity(**HEAVY_BALL, edge=("1", "2 + 2*b"))
    certificate = prove_identity(identity)
    assert certificate.verified
    assert check(certificate.data(), identity.theorem).accepted


@pytest.mark.parametrize("edge", [("1", "51/25 + 2*b"), ("1", "2 + 51/25*b"), ("51/50", "2 + 2*b")])
def test_another_threshold_is_refused(edge):
    identity = jury_identity(**HEAVY_BALL, edge=edge)
    certificate = prove_identity(identity)
    assert "p(-1)" in certificate.failed
    assert not check(certificate.data(), identity.theorem).accepted


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("x", ("1", "-eta*b", "-2*eta")), ("m", ("0", "1/2*b", "1")), ("step", {"m1": "b*m + A@x", "x1": "x - eta*m"})],
)
def test_another_step_is_refused(part, wrong):
    identity = jury_identity(**HEAVY_BALL | {part: wrong}, edge=("1", "2 + 2*b"))
    assert not prove_identity(identity).verified
    assert not check(prove_identity(identity).data(), identity.theorem).accepted


def test_a_sign_without_a_reason_is_asked_for():
    with pytest.raises(ValueError, match=r"excess has no 'p\(1\)': give each of"):
        jury_identity(**HEAVY_BALL | {"excess": {"factor": "1"}}, edge=("1", "2 + 2*b"))


def test_the_claim_of_the_page_is_proved_and_its_way_to_look_for_a_fault_finds_one(pytester):
    page = (Path(__file__).parents[2] / "docs" / "certificates.md").read_text(encoding="utf-8")
    claim, look = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (pytester.path / "my_claims").mkdir()
    (pytester.path / "my_claims" / "test_heavy_ball.py").write_text(claim, encoding="utf-8")
    done = pytester.runpytest("my_claims", "-p", "no:cacheprovider")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*momentum/proved*holds*proved*1/1*1/1 fired*"])
    names = {"identity": jury_identity(**HEAVY_BALL | {"remainder": {}}, edge=("1", "2 + 2*b"))}
    with redirect_stdout(StringIO()) as told:
        exec(look, names | {"prove_identity": prove_identity})
    assert told.getvalue().splitlines() == [
        "('1 - determinant',)",
        "the two sides of '1 - determinant' differ by 1 and more",
    ]
