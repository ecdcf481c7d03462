"""Cycles of gradient descent on logistic regression, proved to attract by Arb's matrices (python-flint).

The loss is the sum of a_i ln(1 + exp(-x_i·w)), the weights a_i divided by their sum. A box of starts is enclosed step
after step; the product of the enclosures of F' takes it into itself and shrinks it. The minimum is enclosed by Newton's
operator, and eta λ_1 there by the signs of minors.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, arb_mat
from jaxtyping import Float

from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, ball, rational

_RADIUS = 1e-10  # of the box of starts
_NEAR = 1e-10  # and of that of the minimum
_BITS = 80  # of the ends of boxes: a spread of 10^-15 has some left


@dataclass(frozen=True)
class LogisticRegression:
    """Samples in one or two dimensions, their labels multiplied in, and what each of them counts.

    Attributes:
        points: a row for each sample.
        weights: positive.
    """

    points: tuple[tuple[Fraction, ...], ...]
    weights: tuple[Fraction, ...]

    @property
    def floats(self) -> tuple[Float[np.ndarray, "samples dimension"], Float[np.ndarray, "samples"]]:
        """The samples, and their weights divided by the sum, in floating point."""
        weights = np.array(self.weights, float)
        return np.array(self.points, float), weights / weights.sum()


@dataclass(frozen=True)
class LogisticCycleCertificate:
    """An attracting cycle of this period, and bounds between which eta λ_1 lies at the minimum.

    Attributes:
        start: a box that the cycle attracts.
        minimum: a box with the minimum.
        inverse: about that of the Hessian there.
        missing: what was not proved; "" if nothing.
    """

    data_set: LogisticRegression
    eta: Fraction
    period: int
    between: Interval
    start: tuple[Interval, ...]
    minimum: tuple[Interval, ...]
    inverse: tuple[tuple[Fraction, ...], ...]
    missing: str
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether all of it was proved."""
        return not self.missing

    @property
    def theorem(self) -> dict[str, Any]:
        """What is stated, as a certificate states it."""
        return {
            "kind": "logistic-cycle",
            "points": [texts(point) for point in self.data_set.points],
            "weights": texts(self.data_set.weights),
            "eta": str(self.eta),
            "period": str(self.period),
            "between": texts(self.between),
        }

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = self.theorem
        proof = {
            "start": [texts(side) for side in self.start],
            "minimum": [texts(side) for side in self.minimum],
            "inverse": [texts(row) for row in self.inverse],
        }
        return certificate(theorem.pop("kind"), theorem, proof)

    def describe(self) -> dict[str, float | int | str]:
        """Step size, period, bounds and seconds."""
        return {
            "samples": len(self.data_set.weights),
            "eta": float(self.eta),
            "period": self.period,
            "eta λ_1 above": float(self.between[0]),
            "eta λ_1 below": float(self.between[1]),
            "missing": self.missing or "nothing",
            "seconds": round(self.seconds, 3),
        }


def prove_logistic_cycle(
    data_set: LogisticRegression,
    eta: Fraction,
    period: int,
    between: Interval,
    start: Sequence[float],
    minimum: Sequence[float],
) -> LogisticCycleCertificate:
    """Try to prove a cycle through `start`, a point of it to rounding, and that eta λ_1 at `minimum` is in between."""
    started = time.perf_counter()
    model = _Model(data_set, eta)
    slope = np.eye(len(start))
    for point in model.orbit(np.array(start, float), period):
        slope = (np.eye(len(start)) - float(eta) * model.float_hessian(point)) @ slope
    values, vectors = np.linalg.eig(np.abs(slope) + 1e-6)
    radii = np.abs(np.real(vectors[:, np.argmax(np.abs(values))]))  # shrunk most evenly by the product
    box = _box(start, _RADIUS * radii / radii.max())
    inverse = np.linalg.inv(model.float_hessian(np.array(minimum, float)))
    around = _box(minimum, np.full(len(minimum), _NEAR))
    rows = tuple(tuple(rational(float(entry)) for entry in row) for row in inverse)
    missing = model.cycle(box, period) or model.sharpness(around, rows, between)
    seconds = time.perf_counter() - started
    return LogisticCycleCertificate(data_set, eta, period, between, box, around, rows, missing, seconds)


class _Model:
    """Gradient descent on the samples, in balls."""

    def __init__(self, data_set: LogisticRegression, eta: Fraction) -> None:
        whole = sum(data_set.weights, Fraction(0))
        self.rows, self.shares = data_set.floats
        self.points = [arb_mat([[ball(x) for x in point]]) for point in data_set.points]
        self.exact = [ball(weight / whole) for weight in data_set.weights]
        self.eta = ball(eta)
        self.step_size = float(eta)

    def float_hessian(self, w: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d d"]:
        """The Hessian in floating point."""
        half = np.exp(-np.abs(self.rows @ w))
        return (self.rows.T * (self.shares * half / (1 + half) ** 2)) @ self.rows

    def orbit(self, w: Float[np.ndarray, "d"], steps: int) -> list[Float[np.ndarray, "d"]]:
        """Iterates in floating point, from w on."""
        found = []
        for _ in range(steps):
            found.append(w)
            w = w + self.step_size * (self.shares * (1 - np.tanh(self.rows @ w / 2)) / 2) @ self.rows
        return found

    def gradient(self, w: arb_mat) -> arb_mat:
        """On a column of balls."""
        total = arb_mat(w.nrows(), 1)
        for point, share in zip(self.points, self.exact, strict=True):
            total = total - point.transpose() * (share * _logistic(-(point * w)[0, 0]))
        return total

    def hessian(self, w: arb_mat) -> arb_mat:
        """On a column of balls."""
        total = arb_mat(w.nrows(), w.nrows())
        for point, share in zip(self.points, self.exact, strict=True):
            margin = (point * w)[0, 0]
            total = total + point.transpose() * point * (share * _logistic(margin) * _logistic(-margin))
        return total

    def derivative(self, w: arb_mat) -> arb_mat:
        """Of a step."""
        return _unit(w.nrows()) - self.hessian(w) * self.eta

    def step(self, w: arb_mat) -> arb_mat:
        """By the mean value theorem about the middle."""
        centre = _middle(w)
        return centre - self.gradient(centre) * self.eta + self.derivative(w) * (w - centre)

    def cycle(self, box: tuple[Interval, ...], period: int) -> str:
        """What is missing for an attracting cycle of just this period through the box."""
        start = arb_mat([[ball(*side)] for side in box])
        image, at, product = start, _middle(start), _unit(len(box))
        for number in range(1, period + 1):
            product = self.derivative(image) * product
            image, at = self.step(image), self.step(at)
            if number < period and all(image[k, 0].overlaps(start[k, 0]) for k in range(len(box))):
                return f"after {number} steps the box may be met again"
        moved = product * (start - _middle(start))
        for k in range(len(box)):
            if not start[k, 0].contains_interior(at[k, 0] + moved[k, 0]):
                return "the box is not taken into itself"
            if not moved[k, 0].abs_upper() < ball(box[k][1] - box[k][0]) / 2:
                return "the box is not shrunk"
        return ""

    def sharpness(self, box: tuple[Interval, ...], inverse: Sequence[Sequence[Fraction]], between: Interval) -> str:
        """What is missing for the minimum in this box, and for eta λ_1 there."""
        start = arb_mat([[ball(*side)] for side in box])
        newton = arb_mat([[ball(entry) for entry in row] for row in inverse])
        centre, hessian = _middle(start), self.hessian(start)
        found = centre - newton * self.gradient(centre) + (_unit(len(box)) - newton * hessian) * (start - centre)
        if not all(start[k, 0].contains_interior(found[k, 0]) for k in range(len(box))):
            return "the gradient need not vanish in the box"
        least, most = (_unit(len(box)) * ball(bound) - hessian * self.eta for bound in between)
        if not all(minor > 0 for minor in _minors(most)):
            return "eta λ_1 may be larger"
        beyond = any(least[k, k] < 0 for k in range(len(box))) or _minors(least)[-1] < 0
        return "" if beyond else "eta λ_1 may be smaller"


def _logistic(y: arb) -> arb:
    """It rises."""
    ends = (1 / (1 + (-end).exp()) if end > 0 else end.exp() / (1 + end.exp()) for end in (y.lower(), y.upper()))
    low, high = ends
    return low.union(high)


def _minors(matrix: arb_mat) -> list[arb]:
    """The leading ones of a matrix of size one or two."""
    return [matrix[0, 0], matrix.det()] if matrix.nrows() == 2 else [matrix[0, 0]]


def _unit(size: int) -> arb_mat:
    return arb_mat([[int(i == j) for j in range(size)] for i in range(size)])


def _middle(w: arb_mat) -> arb_mat:
    return arb_mat([[w[k, 0].mid()] for k in range(w.nrows())])


def _box(centre: Sequence[float], radii: Float[np.ndarray, "d"]) -> tuple[Interval, ...]:
    return tuple(
        (rational(float(at), _BITS) - rational(float(r), _BITS), rational(float(at), _BITS) + rational(float(r), _BITS))
        for at, r in zip(centre, radii, strict=True)
    )
