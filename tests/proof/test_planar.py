from fractions import Fraction

import numpy as np
import pytest

from eosbench.proof.planar import prove_basin

ETA = Fraction("1.1")
ORBIT = np.sqrt((2.1 + np.array([-1, 1]) * np.sqrt(0.1 * 4.1)) / 2.2)


@pytest.fixture(scope="module")
def basin():
    return prove_basin(ETA, ORBIT[0], levels=2)


def test_sampled_starts_of_the_certified_region_reach_the_orbit(basin):
    assert basin.verified
    random = np.random.default_rng(0)
    s, d = random.uniform(0.05, 2.6, 4000), random.uniform(0, 1, 4000)
    x, y = (s + np.sqrt(d)) / 2, (s - np.sqrt(d)) / 2
    kept = basin.contains(x, y)
    assert kept.mean() == pytest.approx(basin.fraction, abs=0.03)
    x, y = x[kept], y[kept]
    for _ in range(3000):
        r = x * y - 1
        x, y = x - 1.1 * r * y, y - 1.1 * r * x
    np.testing.assert_allclose(x, y, atol=1e-10)
    np.testing.assert_allclose(np.abs(x[:, None] - ORBIT).min(1), 0, atol=1e-10)


def test_boxes_in_exact_arithmetic_stay_inside_what_was_computed(basin):
    """A path in rational arithmetic from the corners of some boxes ends in the target."""
    half, most = basin.target
    for low_s, high_s, low_d, high_d in basin.boxes[:: len(basin.boxes) // 12]:
        for s, d in ((Fraction(low_s), Fraction(high_d)), (Fraction(high_s), Fraction(low_d))):
            for _ in range(200):
                if abs(s - Fraction(2 * ORBIT[0])) < Fraction(half) and d < Fraction(most):
                    break
                r = (s * s - d) / 4 - 1
                s, d = s * (1 - ETA * r), d * (1 + ETA * r) ** 2
                s, d = s.limit_denominator(10**30), d.limit_denominator(10**30)  # 1e-30, against boxes of 1e-2
            else:
                pytest.fail("did not reach the target")


def test_the_starts_that_do_not_converge_are_left_out(basin):
    assert not basin.contains(np.array([1.25, 1.0, 1.4]), np.array([0.8, 1.0, 1 / 1.4])).any()  # x y = 1


@pytest.mark.parametrize("eta", ["0.98", "1.25"])
def test_nothing_is_proved_outside_the_range(eta):
    nothing = prove_basin(Fraction(eta), 0.9)
    assert not nothing.verified
    assert nothing.fraction == 0
