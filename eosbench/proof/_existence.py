"""A period-2 orbit through every start of an interval, at a step size from a bracket that the theory gives.

With ``H(x, eta) = f'(x) + f'(x - eta f'(x))``, a start x that is not critical has period two exactly where H vanishes.
H is continuous in eta, so a change of its sign between the ends of the bracket proves a step size in between, for that
x; it also proves that x is not critical, since H would vanish for every eta. Next to the minimizer m, which is such a
zero, the sign is that of the first Taylor coefficient that does not vanish; that the ones before it do is checked in
exact rational arithmetic.
"""

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, fmpq, fmpq_series

from eosbench.proof._cover import Part
from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, as_float, ball, cover
from eosbench.proof._two_cycle import Descent


@dataclass(frozen=True)
class ExistenceCertificate:
    """Every start between m and `end` has period two at some step size strictly inside `bracket`.

    Attributes:
        order: H vanishes like (x - m)^order at the lower end of the bracket.
        signs: of H/(x - m)^order at the lower end and of H/(x - m) at the upper end; 0 where it was not proved.
        lower, upper: breakpoints of the cells on which the two signs were checked.
    """

    loss: Descent
    end: Fraction
    bracket: Interval
    order: int
    signs: tuple[int, int]
    lower: Part
    upper: Part
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether the bracket is not empty and the sign changes over it for all starts."""
        opposite = self.order % 2 == 1 and self.signs[0] * self.signs[1] == -1
        return self.bracket[0] < self.bracket[1] and opposite

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = {
            "loss": self.loss.loss,
            "minimizer": str(self.loss.minimizer),
            "end": str(self.end),
            "bracket": texts(self.bracket),
        }
        return certificate("existence", theorem, {"lower": texts(self.lower), "upper": texts(self.upper)})

    def describe(self) -> dict[str, float | int | str]:
        """Starts, bracket, signs, cells and seconds."""
        low, high = as_float(self.bracket)
        return {
            "family": self.loss.name,
            "starts up to": float(self.end),
            "eta above": low,
            "eta below": high,
            "order of the zero": self.order,
            "signs": f"{self.signs[0]:+d}, {self.signs[1]:+d}",
            "cells": sum(max(len(part) - 1, 0) for part in (self.lower, self.upper)),
            "seconds": round(self.seconds, 3),
        }


def prove_existence(family: Descent, end: Fraction, bracket: Interval) -> ExistenceCertificate:
    """Try to prove it for a polynomial loss and all starts from its minimizer (exclusive) to `end`."""
    started = time.perf_counter()
    low, high = sorted((family.minimizer, end))
    order = _order(family, bracket[0])
    etas = [ball(eta) for eta in bracket]
    found = [_sign(family, low, high, eta, power) for eta, power in zip(etas, (order, 1), strict=True)]
    seconds = time.perf_counter() - started
    signs, cells = (found[0][0], found[1][0]), (found[0][1], found[1][1])
    return ExistenceCertificate(family, end, bracket, order, signs, *cells, seconds)


def _sign(family: Descent, low: Fraction, high: Fraction, eta: arb, power: int) -> tuple[int, Part]:
    """The sign of H/(x - m)^power for all x from low to high, with the cells that prove it; 0 if neither is proved."""
    for sign in (1, -1):
        cells = cover(lambda x, sign=sign: _signed(family, x, eta, power, sign), low, high)  # type: ignore[misc]
        if cells is not None:
            return sign, cells
    return 0, ()


def _order(family: Descent, eta: Fraction, most: int = 9) -> int:
    """The order of the zero of H at the minimizer, exactly; 0 if H vanishes to more than `most`."""
    m = fmpq(family.minimizer.numerator, family.minimizer.denominator)
    at = fmpq_series([m, 1], prec=most + 1)
    slope = family.slope(at)
    coefficients = slope + family.slope(at - fmpq(eta.numerator, eta.denominator) * slope)
    return next((k for k in range(most + 1) if coefficients[k] != 0), 0)


def _signed(family: Descent, x: arb, eta: arb, power: int, sign: int) -> bool:
    """Whether sign * H/(x - m)^power > 0 on x, for the power with which H vanishes at m."""
    m = ball(family.minimizer)
    near = family.displacement(m.union(x), eta, power)[power]
    if sign * near > 0:
        return True
    if x.contains(m):
        return False
    slope = family.displacement(x, eta, 1)[1]
    far = family.displacement(x.mid(), eta, 0)[0] + slope * (x - x.mid())
    return bool(sign * far / (x - m) ** power > 0)
