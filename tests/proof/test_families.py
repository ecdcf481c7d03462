"""Certificates of orbits of squared losses, checked again with mpmath's intervals and derivatives taken by hand.

With e = g(x) - g(m), all that is enclosed here is built from f' = 2 e g', f'' = 2 (g'² + e g'') and
f''' = 2 (3 g' g'' + e g'''), by the mean value theorem in x and eta about the middle of a cell; where that does not
settle a sign, the cell is halved.
"""

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from mpmath.ctx_iv import MPIntervalContext

from eosbench.proof import prove_two_cycle
from eosbench.proof._families import squared_descent

F = Fraction
iv = MPIntervalContext()
iv.prec = 80
ONE, TWO, THREE, SIX = map(iv.mpf, (1, 2, 3, 6))  # mpmath takes long to convert an integer


def sine(x):
    s, c = iv.sin(x), iv.cos(x)
    return s, c, -s, -c


def hyperbolic_tangent(x):
    t = ONE - TWO / (iv.exp(x + x) + ONE)
    rest = ONE - t**2
    return t, rest, -TWO * t * rest, (SIX * t**2 - TWO) * rest


def logistic(x):
    s = ONE / (ONE + iv.exp(-x))
    first = s * (ONE - s)
    return s, first, first * (ONE - s - s), first * (ONE - SIX * first)


def exponential(x):
    return (iv.exp(x),) * 4


def logarithm(x):
    return iv.log(x), ONE / x, -ONE / x**2, TWO / x**3


def square(x):
    return x**2, TWO * x, TWO, ONE - ONE


def cube(x):
    return x**3, THREE * x**2, SIX * x, SIX


def gaussian(x):
    bell = iv.exp(-(x**2) / TWO)
    return bell, -x * bell, (x**2 - ONE) * bell, (THREE - x**2) * x * bell


MODELS = {  # g with g', g'' and g''', and the point m
    "sin": (sine, F(1, 2)),
    "tanh": (hyperbolic_tangent, F(1, 2)),
    "sigmoid": (logistic, F(1, 2)),
    "exp": (exponential, F(0)),
    "log": (logarithm, F(1)),
    "square": (square, F(1)),
    "cube": (cube, F(1)),
    "gaussian": (gaussian, F(1, 2)),
}


def box(low, high=None):
    """An interval of mpmath around rational ends."""
    low, high = (iv.mpf(end.numerator) / end.denominator for end in (low, low if high is None else high))
    return iv.mpf([low.a, high.b])


def sign(x):
    return 1 if x.a > 0 else -1 if x.b < 0 else 0


def parts(slopes, after, eta):
    """H, H', H'', and the derivatives of H and H' in eta, from f', f'' and f''' at x and at F(x)."""
    (f1, f2, f3), (h1, h2, h3) = slopes, after
    stretch = ONE - eta * f2
    first, second = f2 + h2 * stretch, f3 + h3 * stretch**2 - eta * h2 * f3
    return f1 + h1, first, second, -h2 * f1, -h3 * f1 * stretch - h2 * f2


class Displacement:
    """H(x) = f'(x) + f'(F(x)) on a cell of x and eta."""

    def __init__(self, model):
        self.model, self.m = model, box(MODELS[model][1])
        self.target = MODELS[model][0](self.m)[0]

    def slopes(self, x):
        """f', f'' and f''' on x."""
        g, g1, g2, g3 = MODELS[self.model][0](x)
        e = g - self.target
        return TWO * e * g1, TWO * (g1**2 + e * g2), TWO * (THREE * g1 * g2 + e * g3)

    def curvature(self, x):
        """f'' on x."""
        return self.slopes(x.mid)[1] + self.slopes(x)[2] * (x - x.mid)

    def cell(self, x, eta):
        """F on the cell, and the parts of H at its middle and on the whole of it."""
        at, on = self.slopes(x.mid), self.slopes(x)
        middle = x.mid - eta.mid * at[0]
        image = middle + (ONE - eta * on[1]) * (x - x.mid) - on[0] * (eta - eta.mid)
        return image, parts(at, self.slopes(middle), eta.mid), parts(on, self.slopes(image), eta)

    def value(self, x, eta):
        """H."""
        _, (value, *_), (_, first, _, by_eta, _) = self.cell(x, eta)
        return value + first * (x - x.mid) + by_eta * (eta - eta.mid)

    def derivative(self, x, eta):
        """H'."""
        _, (_, first, *_), (_, _, second, _, first_by_eta) = self.cell(x, eta)
        return first + second * (x - x.mid) + first_by_eta * (eta - eta.mid)

    def bend(self, x, eta):
        """(x - m)² times the derivative of H/(x - m), that is (x - m) H' - H."""
        _, (value, first, *_), (_, _, second, by_eta, first_by_eta) = self.cell(x, eta)
        z = x - self.m
        change = z * second * (x - x.mid) + (z * first_by_eta - by_eta) * (eta - eta.mid)
        return (x.mid - self.m) * first - value + change

    def vacant(self, x, eta):
        """H off m, and H' on a cell with m, which is a zero of H: no other zero where it has a sign."""
        return self.derivative(x, eta) if self.m in x else self.value(x, eta)


def halves(x, eta):
    """Two cells that cover one of x and eta: halves of x, or of eta where x is a point."""
    if x.delta == 0:
        return [(x, iv.mpf(part)) for part in ([eta.a, eta.mid], [eta.mid, eta.b])]
    return [(iv.mpf(part), eta) for part in ([x.a, x.mid], [x.mid, x.b])]


def signs(of, x, eta, depth=8):
    """The signs of a function on the cells of a subdivision of x and eta; 0 among them where it was not settled."""
    found = sign(of(x, eta))
    if found or not depth:
        return {found}
    return set.union(*(signs(of, *half, depth - 1) for half in halves(x, eta)))


def recheck(model, certificate, search, beyond):
    """What is wrong with a certificate of a squared loss, if anything."""
    H, m = Displacement(model), MODELS[model][1]
    edge = 2 / H.slopes(H.m)[1]
    if any(abs(box(eta) - box(part) * edge).b > 2.0**-40 for eta, part in zip(certificate.eta, beyond, strict=True)):
        return "other step sizes"
    at = certificate.eta[0]
    for found in certificate.boxes:
        if found.eta[0] != at:
            return f"gap at {float(at)}"
        at, eta = found.eta[1], box(*found.eta)
        (a, b), (c, d) = found.points
        if not search[0] < a < b < m < c < d < search[1]:
            return "order"
        at_ends = [signs(H.value, box(end), eta) for end in (a, b, c, d)]
        if at_ends not in ([{1}, {-1}, {1}, {-1}], [{-1}, {1}, {-1}, {1}]):
            return f"signs {at_ends} at {float(at)}"
        for ends in found.points:
            if signs(H.bend, box(*ends), eta) not in ({1}, {-1}):
                return "point not simple"
            if not sign(H.slopes(box(*ends))[0]):
                return "a critical point"
        image, *_ = H.cell(box(a, b), eta)
        if not (image.a > box(b).b and image.b <= box(search[1]).a):
            return "image"
        product = (1 - eta * H.curvature(box(a, b))) * (1 - eta * H.curvature(box(c, d)))
        if not {"attracts": abs(product).b < 1, "repels": product.b < -1}[certificate.kind]:
            return "multiplier"
        if product.b < box(*found.multiplier).a or product.a > box(*found.multiplier).b:
            return "another multiplier"
        for ends, part in zip(((search[0], a), (b, c), (d, search[1])), found.cells, strict=True):
            if (part[0], part[-1]) != ends or any(x >= y for x, y in itertools.pairwise(part)):
                return "cells do not cover"
            for x, y in itertools.pairwise(part):
                if 0 in signs(H.vacant, box(x, y), eta):
                    return f"a zero in [{float(x)}, {float(y)}]"
    return "" if at >= certificate.eta[1] else "end not reached"


WIDE, THIN = (F("1.002"), F("1.01")), (F("1.002"), F("1.0025"))  # in units of 2/f''; the first is that of the claim


def prove(model, beyond):
    family, etas = squared_descent(model, beyond)
    return prove_two_cycle(family, *etas), family.search


@pytest.mark.parametrize("model", MODELS)
def test_the_derivatives_taken_by_hand(model):
    x, h = box(MODELS[model][1] + F(1, 8)), iv.mpf(2) ** -20
    above, below = MODELS[model][0](x + h), MODELS[model][0](x - h)
    for order, derivative in enumerate(MODELS[model][0](x)[1:]):
        assert abs((above[order] - below[order]) / (2 * h) - derivative).b < 1e-10


@pytest.mark.parametrize(
    ("model", "beyond"),
    # Of the two that take thousands of cells, the beginning
    [(model, THIN if model in ("tanh", "sigmoid") else WIDE) for model in MODELS],
)
def test_a_second_checker_agrees_box_by_box(model, beyond):
    certificate, search = prove(model, beyond)
    assert certificate.verified
    assert recheck(model, certificate, search, beyond) == ""


@pytest.fixture(scope="module")
def gaussians():
    return prove("gaussian", THIN)


def with_box(certificate, at, **changes):
    boxes = list(certificate.boxes)
    boxes[at] = replace(boxes[at], **changes)
    return replace(certificate, boxes=tuple(boxes))


def test_a_missing_box_is_caught(gaussians):
    certificate, search = gaussians
    for at in range(len(certificate.boxes)):
        broken = replace(certificate, boxes=certificate.boxes[:at] + certificate.boxes[at + 1 :])
        assert recheck("gaussian", broken, search, THIN)


@pytest.mark.parametrize("side", [0, 1])
def test_a_moved_point_is_caught(gaussians, side):
    certificate, search = gaussians
    points, cells = list(certificate.boxes[1].points), list(certificate.boxes[1].cells)
    a, b = points[side]
    points[side] = a, a + (b - a) / 8
    cells[side + 1] = (points[side][1], *cells[side + 1])
    broken = with_box(certificate, 1, points=tuple(points), cells=tuple(cells))
    assert recheck("gaussian", broken, search, THIN).startswith("signs")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_missing_cell_is_caught(gaussians, part):
    certificate, search = gaussians
    cells = list(certificate.boxes[0].cells)
    cells[part] = cells[part][:-1]
    assert recheck("gaussian", with_box(certificate, 0, cells=tuple(cells)), search, THIN) == "cells do not cover"


def test_another_zero_is_caught(gaussians):
    """A search interval beyond the critical point 0, where H vanishes; up to short of it there is no other zero."""
    certificate, search = gaussians
    first = certificate.boxes[0]

    def recheck_from(low):
        wider = replace(first, cells=((low, *first.cells[0]), *first.cells[1:]))
        return recheck("gaussian", replace(certificate, boxes=(wider,)), (low, search[1]), THIN)

    assert recheck_from(F(1, 10)) == "end not reached"
    assert recheck_from(F(-1, 10)).startswith("a zero in [-0.1")


def test_the_multiplier_is_checked(gaussians):
    certificate, search = gaussians
    assert recheck("gaussian", replace(certificate, kind="repels"), search, THIN) == "multiplier"
    moved = with_box(certificate, -1, multiplier=(F(0), F(1, 2)))
    assert recheck("gaussian", moved, search, THIN) == "another multiplier"


def test_other_step_sizes_are_caught(gaussians):
    certificate, search = gaussians
    assert recheck("gaussian", certificate, search, WIDE) == "other step sizes"
    assert recheck("sin", certificate, search, THIN) == "other step sizes"


def test_another_loss_with_the_same_edge_is_caught(monkeypatch):
    """exp and sinh at 0 have the same g'; for sinh there is no orbit."""
    certificate, search = prove("exp", THIN)
    assert recheck("exp", certificate, search, THIN) == ""
    up, down = iv.exp, lambda x: iv.exp(-x)
    sinh, cosh = (lambda x: (up(x) - down(x)) / 2), (lambda x: (up(x) + down(x)) / 2)
    monkeypatch.setitem(MODELS, "exp", (lambda x: (sinh(x), cosh(x), sinh(x), cosh(x)), F(0)))
    assert recheck("exp", certificate, search, THIN).startswith("signs")
