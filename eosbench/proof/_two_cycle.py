"""Period-2 orbits of gradient descent on a scalar loss, proved for every step size of an interval.

Let ``F(x) = x - eta f'(x)`` and ``H(x) = f'(x) + f'(F(x))``, so that ``F(F(x)) - x = -eta H(x)``. The period-2 points
are the zeros of H other than critical points of f. Around a minimizer m, where H vanishes too, ``G(x) = H(x)/(x - m)``
is enclosed through Taylor's formula, so that zeros can be counted through m itself. For a box of step sizes it is
checked that

1. G changes sign over a box X_1 left of m and over a box X_2 right of it, and is strictly monotone on each: one zero
   delta_i in each, for every eta of the box, and a simple one;
2. F maps X_1 into the search interval, beyond X_1: delta_1 is no fixed point, so it has period two, and by 3 its
   partner is delta_2;
3. on the rest of the search interval G has no zero, except at critical points that were named (there H is strictly
   monotone): the orbit is the only one in the search interval;
4. the multiplier ``F'(delta_1) F'(delta_2)`` lies in (-1, 1): the orbit attracts; or below -1: it repels.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from flint import arb, arb_series

from eosbench.proof._cover import Box, CoverCertificate, bisect
from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, ball, bounds, cover, excludes_zero, middle, rational

Slope = Callable[[Any], Any]
"""f' as a formula in +, -, *, / and methods of `flint.arb_series`; for polynomials any ring will do."""


@dataclass(frozen=True)
class Descent:
    """Gradient descent on one scalar loss, a one-parameter family of maps.

    Attributes:
        name: of the loss, for a reader.
        loss: f as a formula in x, which a certificate states.
        slope: f', which must vanish at `minimizer` (up to rounding where it is not a polynomial).
        minimizer: rational; shift a loss whose minimizer is not.
        search: the interval in which orbits are counted, with the minimizer inside.
        critical: the other critical points of f in it.
    """

    name: str
    loss: str
    slope: Slope
    minimizer: Fraction
    search: Interval
    critical: tuple[Fraction, ...] = ()

    def slopes(self, x: arb, order: int) -> arb_series:
        """Taylor coefficients of f' at every point of x, up to `order`."""
        return self.slope(arb_series([x, 1], prec=order + 1))

    def curvature(self, x: arb) -> arb:
        """f'' on x."""
        return self.slopes(x, 1)[1]

    def step(self, x: arb, eta: arb) -> arb:
        """F on x."""
        return x - eta * self.slopes(x, 0)[0]

    def displacement(self, x: arb, eta: arb, order: int) -> arb_series:
        """Taylor coefficients of H at every point of x, up to `order`."""
        at = arb_series([x, 1], prec=order + 1)
        slope = self.slope(at)
        return slope + self.slope(at - eta * slope)

    def displacement_at(self, point: arb, eta: arb) -> arb:
        """H at one point for every eta, by the mean value theorem in eta."""
        slope, centre = self.slopes(point, 0)[0], eta.mid()
        change = -self.curvature(point - eta * slope) * slope
        return slope + self.slopes(point - centre * slope, 0)[0] + change * (eta - centre)

    def near(self, x: arb, eta: arb) -> tuple[arb, arb]:
        """G and its derivative on x, by Taylor's formula about the minimizer with Lagrange's remainder."""
        m = ball(self.minimizer)
        z = x - m
        first = self.displacement(m, eta, 2)
        third = self.displacement(m.union(x), eta, 3)[3]
        return first[1] + z * (first[2] + z * third), first[2] + 2 * z * third

    def far(self, x: arb, eta: arb) -> tuple[arb, arb]:
        """G and its derivative on x off the minimizer, by the mean value theorem about the middle of x."""
        z = x - ball(self.minimizer)
        derivative = self.displacement(x, eta, 1)[1]
        value = self.displacement_at(x.mid(), eta) + derivative * (x - x.mid())
        return value / z, (derivative * z - value) / (z * z)


@dataclass(frozen=True)
class OrbitBox(Box):
    """The orbit for the step sizes of one box.

    Attributes:
        eta: the step sizes.
        cells: breakpoints of the cells that hold no other orbit, for the parts of the search interval left of the first
            point, between the two, and right of the second.
        points: a box around delta_1 and one around delta_2.
        multiplier: an enclosure of F'(delta_1) F'(delta_2).
    """

    points: tuple[Interval, Interval]
    multiplier: Interval


Kind = Literal["attracts", "repels", "exists"]


@dataclass(frozen=True)
class OrbitCertificate(CoverCertificate[OrbitBox]):
    """A period-2 orbit for every eta of a range: boxes, with what was checked on each."""

    kind: Kind
    loss: Descent
    edges: Interval | None = None

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = {
            "loss": self.loss.loss,
            "minimizer": str(self.loss.minimizer),
            "search": texts(self.loss.search),
            "eta": texts(self.edges or self.eta),
            "unit": "2/f''" if self.edges else "1",
            "orbit": self.kind,
        }
        boxes = [
            {"eta": texts(box.eta), "points": [*map(texts, box.points)], "cells": [*map(texts, box.cells)]}
            for box in self.boxes
        ]
        return certificate("two-cycle", theorem, {"critical": texts(self.loss.critical), "boxes": boxes})

    def describe(self) -> dict[str, float | int | str]:
        """Range, boxes, cells and seconds."""
        widths = [float(box.eta[1] - box.eta[0]) for box in self.boxes]
        return {
            "family": self.family,
            "orbit": self.kind,
            **super().describe(),
            "narrowest box": min(widths, default=0.0),
            "widest box": max(widths, default=0.0),
        }


def prove_two_cycle(
    family: Descent,
    low: Fraction,
    high: Fraction,
    kind: Kind = "attracts",
    depth: int = 14,
    edges: Interval | None = None,
) -> OrbitCertificate:
    """Prove a period-2 orbit, the only one in the search interval, for every step size in [low, high].

    The range is halved where a box is too wide, up to `depth` times. What cannot be proved is listed in `failed`; it
    may be true all the same. `edges` tells the range in units of 2/f''(m), which [low, high] then has to cover.
    """
    started = time.perf_counter()
    boxes, failed = bisect(lambda a, b: orbit_box(family, a, b, kind), low, high, depth)
    seconds = time.perf_counter() - started
    return OrbitCertificate(family.name, (low, high), boxes, failed, seconds, kind, family, edges)


def orbit_box(family: Descent, low: Fraction, high: Fraction, kind: Kind) -> OrbitBox | None:
    """One box of step sizes, or None if something about it was not proved."""
    points = _guess(family, low, high)
    if points is None or not _in_order(family, points):
        return None
    eta = ball(low, high)
    hulls = [ball(*point) for point in points]
    for (left, right), hull in zip(points, hulls, strict=True):
        ends = [family.displacement_at(ball(x), eta) / ball(x - family.minimizer) for x in (left, right)]
        if not ((ends[0] > 0 and ends[1] < 0) or (ends[0] < 0 and ends[1] > 0)):
            return None
        if not any(excludes_zero(enclose(hull, eta)[1]) for enclose in (family.near, family.far)):
            return None
    if not ball(points[0][1]) < family.step(hulls[0], eta) < ball(family.search[1]):
        return None
    multiplier = (1 - eta * family.curvature(hulls[0])) * (1 - eta * family.curvature(hulls[1]))
    stable = {"attracts": abs(multiplier) < 1, "repels": multiplier < -1, "exists": multiplier.is_finite()}
    if not stable[kind]:
        return None
    cells = []
    for a, b in ((family.search[0], points[0][0]), (points[0][1], points[1][0]), (points[1][1], family.search[1])):
        part = cover(lambda x: empty(family, x, eta), a, b)
        if part is None:
            return None
        cells.append(part)
    return OrbitBox((low, high), tuple(cells), points, bounds(multiplier))


def empty(family: Descent, x: arb, eta: arb) -> bool:
    """Whether x holds no point of period two: no zero of G, or one zero of H, which is a critical point of f."""
    if not x.contains(ball(family.minimizer)) and excludes_zero(family.far(x, eta)[0]):
        return True
    if excludes_zero(family.near(x, eta)[0]):
        return True
    if any(x.contains(ball(point)) for point in family.critical):
        return excludes_zero(family.displacement(x, eta, 1)[1])
    return False


def _in_order(family: Descent, points: Sequence[Interval]) -> bool:
    (a, b), (c, d) = points
    return family.search[0] < a < b < family.minimizer < c < d < family.search[1]


def _guess(family: Descent, low: Fraction, high: Fraction) -> tuple[Interval, Interval] | None:
    """Boxes that should hold the orbit for all eta, from roots in floating point: no part of the proof."""
    ends = [_orbit(family, float(eta)) for eta in (low, middle(low, high), high)]
    orbits = [orbit for orbit in ends if orbit is not None]
    if len(orbits) < len(ends):
        return None
    boxes = []
    for side in (0, 1):
        a, b = min(orbit[side] for orbit in orbits), max(orbit[side] for orbit in orbits)
        margin = 0.25 * (b - a) + 1e-9
        boxes.append((rational(a - margin), rational(b + margin)))
    return boxes[0], boxes[1]


def _orbit(family: Descent, eta: float) -> tuple[float, float] | None:
    """delta_1 < m < delta_2 in floating point, the orbit nearest to the minimizer; None if none is found."""
    m, span = float(family.minimizer), float(family.minimizer - family.search[0])

    def quotient(z: float) -> float:
        at = arb(m + z)
        return float(family.displacement(at, arb(eta), 0)[0].mid()) / z

    outer, inner = 0.0, 0.0
    start = quotient(-span * 2.0**-10)
    for k in range(1, 81):
        inner, outer = outer, -span * 2.0 ** (-10 + k / 8)
        if inner and quotient(outer) * start < 0:
            break
    else:
        return None
    for _ in range(60):
        at = (inner + outer) / 2
        if quotient(at) * start < 0:
            outer = at
        else:
            inner = at
        if abs(outer - inner) < 1e-13:
            break
    delta = m + (inner + outer) / 2
    return delta, float(family.step(arb(delta), arb(eta)).mid())
