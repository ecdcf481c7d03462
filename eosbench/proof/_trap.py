"""Convergence to a period-2 orbit from every start but countably many, proved for every step size of an interval.

Let F be gradient descent with one critical point c of F in (0, hi), a maximum. If for some lo, hi

1. F' > 0 on [0, a], F' < 0 on [b, hi] and a < c < b, so that F <= hi on [0, hi], where hi bounds F on [a, b];
2. b <= lo and F(hi) > lo: then F maps I = [lo, hi] into itself, decreasing, and F o F is increasing on I;
3. f' < 0 on (0, lo]: left of lo every step goes up, and never beyond hi, so that every path from (0, lo) enters I;
4. eta f''(m) > 2 at the minimizer m, for eta inside the box: it repels;

then F o F moves every point of I monotonically to one of its fixed points in I. Those are m, which attracts nothing
but its own preimages, and the points of period two. Where the latter are known to be delta_1 and delta_2 alone, every
path from (0, hi] ends on that orbit, or on m after finitely many steps.
"""

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb

from eosbench.proof._cover import Box, CoverCertificate, bisect
from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, ball, bounds, cover, rational
from eosbench.proof._two_cycle import Descent


@dataclass(frozen=True)
class TrapBox(Box):
    """For the step sizes `eta`: the critical point of F lies in `critical`, and I is `trap`.

    The cells are of three parts: from 0 to `critical`, where F' > 0 was checked; from there to the upper end of I,
    where F' < 0 was; and from 0 to the lower end of I, where f' < 0 was.
    """

    critical: Interval
    trap: Interval


@dataclass(frozen=True)
class TrapCertificate(CoverCertificate[TrapBox]):
    """The monotone trap for every eta of a range (at its lower end, where eta f''(m) = 2, without item 4)."""

    loss: Descent

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        loss = self.loss
        theorem = {
            "loss": loss.loss,
            "minimizer": str(loss.minimizer),
            "within": texts(loss.search),
            "eta": texts(self.eta),
            "unit": "1",
        }
        boxes = [
            {
                "eta": texts(box.eta),
                "critical": texts(box.critical),
                "trap": texts(box.trap),
                "cells": [*map(texts, box.cells)],
            }
            for box in self.boxes
        ]
        return certificate("trap", theorem, {"boxes": boxes})


def prove_trap(family: Descent, low: Fraction, high: Fraction, depth: int = 14) -> TrapCertificate:
    """Prove the trap for every step size in [low, high], halving the range where needed.

    The search interval of `family` must begin at 0, a critical point of f; ValueError otherwise.
    """
    if family.search[0] != 0 or 0 not in family.critical:
        raise ValueError(f"{family.name}: the search interval must begin at 0, and 0 be named a critical point")
    started = time.perf_counter()
    boxes, failed = bisect(lambda a, b: trap_box(family, a, b), low, high, depth)
    return TrapCertificate(family.name, (low, high), boxes, failed, time.perf_counter() - started, family)


def trap_box(family: Descent, low: Fraction, high: Fraction) -> TrapBox | None:
    """The trap for one box of step sizes, or None if something about it was not proved."""
    eta = ball(low, high)
    if low < bounds(2 / family.curvature(ball(family.minimizer)))[1]:
        return None
    guesses = [_critical(family, float(end)) for end in (low, high)]
    margin = 0.1 * abs(guesses[0] - guesses[1]) + 1e-7
    a, b = rational(min(guesses) - margin), rational(max(guesses) + margin)
    hi = rational(float(bounds(family.step(ball(a, b), eta))[1]) + 1e-9)
    lowest = bounds(family.step(ball(hi), eta))[0]
    lo = rational(float(b + lowest) / 2)
    if not (b <= lo < lowest and lo < family.minimizer < hi <= family.search[1]):
        return None
    if not family.step(ball(a, b), eta) < ball(hi):
        return None
    rising = cover(lambda x: _stretch(family, x, eta) > 0, Fraction(0), a)
    falling = cover(lambda x: _stretch(family, x, eta) < 0, b, hi)
    uphill = cover(lambda x: _uphill(family, x), Fraction(0), lo)
    if rising is None or falling is None or uphill is None:
        return None
    return TrapBox((low, high), (rising, falling, uphill), (a, b), (lo, hi))


def _stretch(family: Descent, x: arb, eta: arb) -> arb:
    """F' on x, by the mean value theorem."""
    about, slopes = family.curvature(x.mid()), family.slopes(x, 2)
    return 1 - eta * (about + 2 * slopes[2] * (x - x.mid()))


def _uphill(family: Descent, x: arb) -> bool:
    """f' < 0 on x; on a cell from 0, where f' vanishes, f'' < 0 says the same for the rest of it."""
    slopes = family.slopes(x, 1)
    return bool(slopes[0] < 0) or (x.contains(0) and bool(slopes[1] < 0))


def _critical(family: Descent, eta: float) -> float:
    """Where F' = 0 between 0 and the minimizer, in floating point: no part of the proof."""
    low, high = 0.0, float(family.minimizer)
    for _ in range(60):
        at = (low + high) / 2
        if float((1 - eta * family.curvature(arb(at))).mid()) > 0:
            low = at
        else:
            high = at
    return (low + high) / 2
