"""Cycles of gradient descent on logistic regression, proved to attract by Arb's matrices (python-flint).

The loss is the sum of a_i ln(1 + exp(-x_i·w)), the weights a_i divided by their sum. For a box of step sizes a box of
starts is enclosed step after step; the product of the enclosures of F' takes it into itself and shrinks it. The minimum
is enclosed by Newton's operator, and the range of step sizes, told in units of 1/λ, by the signs of minors there.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, arb_mat
from jaxtyping import Float

from eosbench.proof._cover import Box, bisect
from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval, ball, rational, tiles

_RADIUS = 1e-10  # of a box of starts, beside what the step size moves it by
_SPARE = 1.3  # by which it is wider than it should need to be
_NEAR = 1e-13  # of the box of the minimum
_BITS = 80  # of the ends of boxes: a spread of 10^-15 has some left
_SETTLED = 500  # steps to the cycle of another step size


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
class CycleBox(Box):
    """A box of starts that the cycle attracts, for the step sizes of one box."""

    start: tuple[Interval, ...]


@dataclass(frozen=True)
class LogisticCycleCertificate:
    """An attracting cycle of this period for all step sizes from times[0]/λ to times[1]/λ.

    Attributes:
        boxes: of step sizes, in ascending order.
        minimum: a box with the minimum, at which λ is the sharpness.
        inverse: about that of the Hessian there.
        missing: what was not proved; "" if nothing.
    """

    data_set: LogisticRegression
    period: int
    times: Interval
    boxes: tuple[CycleBox, ...]
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
            "period": str(self.period),
            "times": texts(self.times),
        }

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        theorem = self.theorem
        proof = {
            "boxes": [{"eta": texts(box.eta), "start": [texts(side) for side in box.start]} for box in self.boxes],
            "minimum": [texts(side) for side in self.minimum],
            "inverse": [texts(row) for row in self.inverse],
        }
        return certificate(theorem.pop("kind"), theorem, proof)

    def describe(self) -> dict[str, float | int | str]:
        """Samples, range, period, boxes and seconds."""
        return {
            "samples": len(self.data_set.weights),
            "eta λ from": float(self.times[0]),
            "eta λ to": float(self.times[1]),
            "period": self.period,
            "boxes": len(self.boxes),
            "missing": self.missing or "nothing",
            "seconds": round(self.seconds, 3),
        }


def prove_logistic_cycle(
    data_set: LogisticRegression,
    period: int,
    times: Interval,
    start: Sequence[float],
    minimum: Sequence[float],
    depth: int = 12,
) -> LogisticCycleCertificate:
    """Try to prove a cycle for all step sizes from times[0]/λ to times[1]/λ, λ being the sharpness at the minimum.

    `start` leads to the cycle at the largest of them and `minimum` is the minimum to rounding: no part of the proof.
    The range is halved where a box is too wide, up to `depth` times.
    """
    started = time.perf_counter()
    model = _Model(data_set)
    hessian = model.float_hessian(np.array(minimum, float))
    sharpness = float(np.linalg.eigvalsh(hessian)[-1])
    low, high = (rational(float(t) / sharpness * spare) for t, spare in zip(times, (1 - 1e-8, 1 + 1e-8), strict=True))
    around = _box(minimum, np.full(len(minimum), _NEAR))
    rows = tuple(tuple(rational(float(entry)) for entry in row) for row in np.linalg.inv(hessian))
    told: list[str] = []

    def prove(a: Fraction, b: Fraction) -> CycleBox | None:
        box = model.starts(np.array(start, float), float(a), float(b), period)
        told.append(model.cycle(box, ball(a, b), period))
        return None if told[-1] else CycleBox((a, b), (), box)

    boxes, failed = bisect(prove, low, high, depth)
    missing = told[-1] if failed else model.range(around, rows, (low, high), times)
    if not missing and not tiles([box.eta for box in boxes], low, high):
        missing = "the boxes do not cover the range"
    return LogisticCycleCertificate(
        data_set, period, times, boxes, around, rows, missing, time.perf_counter() - started
    )


class _Model:
    """Gradient descent on the samples, in balls."""

    def __init__(self, data_set: LogisticRegression) -> None:
        whole = sum(data_set.weights, Fraction(0))
        self.rows, self.shares = data_set.floats
        self.points = [arb_mat([[ball(x) for x in point]]) for point in data_set.points]
        self.exact = [ball(weight / whole) for weight in data_set.weights]

    def float_hessian(self, w: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d d"]:
        """The Hessian in floating point."""
        half = np.exp(-np.abs(self.rows @ w))
        return (self.rows.T * (self.shares * half / (1 + half) ** 2)) @ self.rows

    def float_step(self, w: Float[np.ndarray, "d"], eta: float) -> Float[np.ndarray, "d"]:
        """A step in floating point."""
        return w + eta * (self.shares * (1 - np.tanh(self.rows @ w / 2)) / 2) @ self.rows

    def starts(self, start: Float[np.ndarray, "d"], low: float, high: float, period: int) -> tuple[Interval, ...]:
        """A box that should hold a point of the cycle for all step sizes, in floating point: no part of the proof.

        It is as wide as what the spread of step sizes makes of one point in p steps, and what these make of the box.
        """
        eta, one = (low + high) / 2, np.eye(len(start))
        point = start
        for _ in range(_SETTLED * period):
            point = self.float_step(point, eta)
        centre, slope, spread = point, one, np.zeros(len(start))
        for _ in range(period):
            derivative, after = one - eta * self.float_hessian(point), self.float_step(point, eta)
            spread = np.abs(derivative) @ spread + np.abs(after - point) * (high - low) / (2 * eta)
            slope, point = derivative @ slope, after
        shrunk = one - np.abs(slope)
        if np.abs(np.linalg.eigvals(one - shrunk)).max() > 0.99:
            shrunk = one  # the box will not do
        radii = np.linalg.solve(shrunk, spread + _RADIUS)
        return _box(centre, _SPARE * np.abs(radii))

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

    def derivative(self, w: arb_mat, eta: arb) -> arb_mat:
        """Of a step."""
        return _unit(w.nrows()) - self.hessian(w) * eta

    def step(self, w: arb_mat, eta: arb) -> arb_mat:
        """By the mean value theorem about the middle."""
        centre = _middle(w)
        return centre - self.gradient(centre) * eta + self.derivative(w, eta) * (w - centre)

    def cycle(self, box: tuple[Interval, ...], eta: arb, period: int) -> str:
        """What is missing for an attracting cycle of just this period through the box."""
        start = arb_mat([[ball(*side)] for side in box])
        image, at, product = start, _middle(start), _unit(len(box))
        for number in range(1, period + 1):
            product = self.derivative(image, eta) * product
            image, at = self.step(image, eta), self.step(at, eta)
            if number < period and all(image[k, 0].overlaps(start[k, 0]) for k in range(len(box))):
                return f"after {number} steps the box may be met again"
        moved = product * (start - _middle(start))
        for k in range(len(box)):
            if not start[k, 0].contains_interior(at[k, 0] + moved[k, 0]):
                return "the box is not taken into itself"
            if not moved[k, 0].abs_upper() < ball(box[k][1] - box[k][0]) / 2:
                return "the box is not shrunk"
        return ""

    def range(
        self, box: tuple[Interval, ...], inverse: Sequence[Sequence[Fraction]], eta: Interval, times: Interval
    ) -> str:
        """What is missing for the minimum in this box, and for the step sizes in question to lie in these."""
        start = arb_mat([[ball(*side)] for side in box])
        newton = arb_mat([[ball(entry) for entry in row] for row in inverse])
        centre, hessian = _middle(start), self.hessian(start)
        found = centre - newton * self.gradient(centre) + (_unit(len(box)) - newton * hessian) * (start - centre)
        if not all(start[k, 0].contains_interior(found[k, 0]) for k in range(len(box))):
            return "the gradient need not vanish in the box"
        below, beyond = (
            _unit(len(box)) * ball(bound) - hessian * ball(size) for bound, size in zip(times, eta, strict=True)
        )
        if not all(minor > 0 for minor in _minors(below)):
            return "the range may begin before the boxes"
        if not (any(beyond[k, k] < 0 for k in range(len(box))) or _minors(beyond)[-1] < 0):
            return "the range may end after the boxes"
        return ""


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


def _box(centre: Sequence[float] | Float[np.ndarray, "d"], radii: Float[np.ndarray, "d"]) -> tuple[Interval, ...]:
    return tuple(
        (rational(float(at), _BITS) - rational(float(r), _BITS), rational(float(at), _BITS) + rational(float(r), _BITS))
        for at, r in zip(centre, radii, strict=True)
    )
