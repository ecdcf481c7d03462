"""Each step of a proof has a loss on which the prover would prove something false without it, and refuses."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, fmpq

from eosbench.proof import _trap as trap
from eosbench.proof import _two_cycle as two_cycle
from eosbench.proof import prove_existence, prove_trap
from eosbench.proof._existence import _signed
from eosbench.proof._families import quartic_descent
from eosbench.proof._intervals import ball
from eosbench.proof._planar import _target, prove_basin
from eosbench.proof._plane_step import Step

from ..checker.planted import described, odd_slope, polynomial_descent, root, times

F = Fraction


NEAR = F(1, 10**6)


def about(x, width=NEAR):
    return F(x) - width, F(x) + width


def refuses(monkeypatch, family, eta, left, right):
    """The prover of orbits, told to look there; `eta` is one step size or two ends."""
    monkeypatch.setattr(two_cycle, "_guess", lambda *_: (left, right))
    return two_cycle.orbit_box(family, *(eta if isinstance(eta, tuple) else (eta, eta)), "exists") is None


def test_no_orbit_where_h_does_not_change_its_sign(monkeypatch):
    """f'(z) = z - z³ at eta = 1, where H(z) = z - z⁹."""
    assert refuses(monkeypatch, odd_slope(1, -1, within=F(1, 2)), F(1), about("-1/4"), about("1/4"))


def test_one_of_three_orbits_is_not_the_only_one(monkeypatch):
    a, b, c = F(48, 100) ** 2, F(50, 100) ** 2, F(52, 100) ** 2
    family = odd_slope(1 - a * b * c, a * b + b * c + c * a, -(a + b + c), 1, within=F(3, 4))
    assert refuses(monkeypatch, family, F(2), about("-1/2"), about("1/2"))


def test_an_orbit_in_a_cell_with_a_critical_point(monkeypatch):
    """f'(z) = z g(z²) with g(u) = (u - 0.49)²/0.45² at eta = 2: orbits where g is 1, critical points at ±0.7."""
    k = 1 / F(45, 100) ** 2
    family = odd_slope(k * F(49, 100) ** 2, -2 * k * F(49, 100), k, within=F(1), critical=("7/10", "-7/10"))
    alone = replace(family, search=(F(-1, 2), F(1, 2)), critical=())
    assert not refuses(monkeypatch, alone, F(2), about("-1/5"), about("1/5"))
    assert refuses(monkeypatch, family, F(2), about("-1/5"), about("1/5"))


def test_the_orbit_of_the_middle_step_size_is_not_that_of_a_whole_box(monkeypatch):
    """One of 1.075, for all step sizes from 1.05 to 1.1."""
    eta = 1.075
    points = [(((1 + eta) + sign * ((eta - 1) * (eta + 3)) ** 0.5) / (2 * eta)) ** 0.5 for sign in (-1, 1)]
    near = [about(F(point), F(1, 1000)) for point in points]
    assert not refuses(monkeypatch, quartic_descent(), F(eta), *near)
    assert refuses(monkeypatch, quartic_descent(), (F("1.05"), F("1.1")), *near)


def exact_h(slope, x, eta):
    """H of a loss whose derivative has these coefficients, and F, in rational numbers."""
    at = lambda z: sum((a * z**k for k, a in enumerate(slope)), F(0))  # noqa: E731
    after = x - eta * at(x)
    return at(x) + at(after), after


def holds(found, number):
    return found.contains(arb(fmpq(number.numerator, number.denominator)))


QUARTIC = [F(0), F(-1), F(0), F(1)]


@pytest.mark.parametrize("low", [F(1, 2), F(7, 10), F(101, 100)])
def test_enclosures_on_a_cell_hold_what_is_so_at_its_points(low):
    """H, G by Taylor's formula and by the mean value theorem, F and F', for x and eta from the ends and between."""
    family, width, etas = quartic_descent(), F(1, 10), (F("1.05"), F("1.15"))
    x, eta = ball(low, low + width), ball(*etas)
    for i in range(5):
        for j in range(5):
            at, step = low + width * i / 4, etas[0] + (etas[1] - etas[0]) * j / 4
            h, after = exact_h(QUARTIC, at, step)
            assert holds(family.displacement(x, eta, 0)[0], h)
            assert holds(family.displacement_at(ball(at), eta), h)
            assert holds(family.near(x, eta)[0], h / (at - 1))
            assert holds(family.far(x, eta)[0], h / (at - 1))
            assert holds(family.step(x, eta), after)
            assert holds(trap._stretch(family, x, eta), 1 - step * (3 * at**2 - 1))


@pytest.mark.parametrize("seed", range(30))
def test_a_sign_on_a_cell_is_that_at_its_points(seed):
    """Of H/z^k for polynomials of degree six, on cells away from 0."""
    draw = np.random.default_rng(seed)
    derivatives = (F(1), *(F(int(d)) for d in draw.integers(-40, 41, 5)))
    family = described(derivatives)
    slope = [F(0)]
    for k, d in enumerate(derivatives, start=1):
        slope.append(d / int(np.prod(range(1, k + 1))))
    for low in draw.uniform(-0.9, 0.6, 20):
        ends = F(low), F(low) + F(3, 10)
        for sign in (1, -1):
            if not ends[0] < 0 < ends[1] and _signed(family, ball(*ends), ball(F(2)), 1, sign):
                points = [ends[0] + F(3, 10) * i / 20 for i in range(21)]
                assert all(sign * exact_h(slope, x, F(2))[0] / x > 0 for x in points if x)


def test_a_sign_in_the_middle_is_not_that_of_the_whole_cell():
    """H/z is positive in the middle of [-0.8, 0] and negative near -0.8, at the upper end of the bracket."""
    assert not prove_existence(described((1, 1, -5)), F("-0.8"), (F(2), F("2.5"))).verified


WITHIN = F(0), F(3, 2)


def test_no_trap_with_a_second_minimum_left_of_it():
    slope = times([F(2)], root(0), root("2/5"), root("9/20"), root(1), root(-1))
    assert not prove_trap(polynomial_descent(slope, 1, WITHIN, (0, "2/5")), F("1.53"), F("1.531"), depth=2).boxes


@pytest.mark.parametrize(("at", "steep"), [(0.6, True), (0.75, False)])
def test_no_trap_that_steps_leave(monkeypatch, at, steep):
    """Left of a point at which F is taken to be largest it does not rise, or right of it F does not fall."""
    bump = [F(1), F(0), *[300 * a for a in times(*[[F(1), F(-1)]] * 6)]] if steep else [F(1)]
    slope = times(root(0), root(-1), root(1), bump)
    monkeypatch.setattr(trap, "_critical", lambda family, eta: at)
    assert not prove_trap(polynomial_descent(slope, 1, WITHIN, (0,)), F("1.01"), F("1.011"), depth=2).boxes


def test_minimizers_that_attract_in_s_alone():
    """Below the edge s = 2 attracts on D = 0, and two steps multiply D by 1 there: no target."""
    assert prove_basin((F("0.98"),) * 2, 1.0, levels=0).target == (0, 0)


def test_a_share_of_the_region_that_is_not_reached():
    delta = float(np.sqrt((2.1 - np.sqrt(0.1 * 4.1)) / 2.2))
    some = prove_basin((F("1.1"),) * 2, delta, levels=0, steps=20, share=F(1, 100))
    assert some.verified
    assert not replace(some, share=F(99, 100)).verified


def test_a_step_of_a_box_holds_those_of_its_points():
    """In s = x + y and D = (x - y)², where s after a step is largest inside the box, or at an end."""
    draw, eta = np.random.default_rng(0), (F("1.05"), F("1.1"))
    low = draw.uniform((0.1, 0), (2.4, 0.9), (200, 2))
    high = low + draw.uniform(0, 0.2, (200, 2))
    (s_low, s_high), (d_low, d_high) = Step(eta)((low[:, 0], high[:, 0]), (low[:, 1], high[:, 1]))
    for i in range(200):
        for k in range(64):
            part = [F(k // 4**place % 4, 3) for place in range(3)]
            s, d, step = (
                F(a) + (F(b) - F(a)) * t
                for (a, b), t in zip([*zip(low[i], high[i], strict=True), eta], part, strict=True)
            )
            r = (s**2 - d) / 4 - 1
            assert s_low[i] <= s * (1 - step * r) <= s_high[i]
            assert d_low[i] <= d * (1 + step * r) ** 2 <= d_high[i]


def test_a_target_contracts_no_more_than_at_its_points():
    """By the derivative of s after two steps in s, and by what they multiply D by."""
    eta = 1.1
    centre = 2 * float(np.sqrt((1 + eta - np.sqrt((eta - 1) * (eta + 3))) / (2 * eta)))
    (half, most), (in_s, in_d) = _target(Step((F("1.1"),) * 2), centre)

    def twice(s, d):
        for _ in range(2):
            r = (s**2 - d) / 4 - 1
            s, d = s * (1 - eta * r), d * (1 + eta * r) ** 2
        return s, d

    s, d = np.meshgrid(np.linspace(centre - half, centre + half, 21), np.linspace(1e-3, 1, 20) * most)
    slope = (twice(s + 1e-6, d)[0] - twice(s - 1e-6, d)[0]) / 2e-6
    assert 0.9 * in_s < np.abs(slope).max() < in_s
    assert 0.9 * in_d < (twice(s, d)[1] / d).max() < in_d
