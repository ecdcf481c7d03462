"""Positivity of a convex function off the one point where it vanishes, proved on an interval."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, arb_series

from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, as_float, ball, cover


@dataclass(frozen=True)
class MinimumCertificate:
    """``f >= 0`` on `domain`, and zero only at `point`.

    Attributes:
        tangent: whether f and f' vanish at the point, exactly.
        cells: breakpoints of the cells on which ``f'' > 0`` was checked; empty if it failed somewhere.
    """

    function: str
    point: Fraction
    domain: Interval
    tangent: bool
    cells: tuple[Fraction, ...]
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether f is convex on the whole domain and touches zero at the point."""
        low, high = self.domain
        covered = bool(self.cells) and (self.cells[0], self.cells[-1]) == self.domain
        return self.tangent and covered and low <= self.point <= high

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = {"function": self.function, "point": str(self.point), "domain": texts(self.domain)}
        return certificate("minimum", theorem, {"cells": texts(self.cells)})

    def describe(self) -> dict[str, float | int | str]:
        """The function, its domain, cells and seconds."""
        low, high = as_float(self.domain)
        return {
            "function": self.function,
            "from": low,
            "to": high,
            "zero only at": float(self.point),
            "cells": max(len(self.cells) - 1, 0),
            "seconds": round(self.seconds, 3),
        }


def prove_minimum(
    function: str, formula: Callable[[arb_series], arb_series], point: Fraction, domain: Interval, depth: int = 100
) -> MinimumCertificate:
    """Try to prove that f, given as a formula, is convex and vanishes with its derivative at `point`.

    `function` is the same formula as a text in x, which the certificate states.
    """
    started = time.perf_counter()
    at = formula(arb_series([ball(point), 1], prec=2))
    tangent = at[0] == 0 and at[1] == 0

    def convex(x: arb) -> bool:
        return bool(formula(arb_series([x, 1], prec=3))[2] > 0)

    cells = cover(convex, *domain, depth=depth) or ()
    return MinimumCertificate(function, point, domain, tangent, cells, time.perf_counter() - started)
