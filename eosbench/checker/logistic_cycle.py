"""Cycles of gradient descent on logistic regression that attract, for all step sizes of a range in units of 1/λ.

The loss is the sum of a_i ln(1 + exp(-x_i·w)) with the weights divided by their sum, λ the largest eigenvalue of its
Hessian at the minimum, and F(w) = w - eta ∇f(w). Boxes of step sizes follow one another without a gap. For each there
is a box of starts about c; its images under F, F², ... are enclosed one after another, and with D the product of the
enclosures of F' on them it is checked that

1. F^p(c) + D (box - c) lies inside the box, and D shrinks the box: F^p has one fixed point there, which attracts all of
   the box;
2. no image before the p-th meets the box: the period is p and no part of it.

For all of them,

3. by Newton's operator on another box the gradient vanishes at one point of it, which is the minimum, as f is convex;
4. there the first step size is less than the least one in question, and the last is more than the largest.
"""

from collections.abc import Sequence
from fractions import Fraction

from eosbench.checker.ranges import Range
from eosbench.checker.steps import Fields, Refused, Steps, fraction

Vector = list[Range]
Matrix = list[Vector]


def check_logistic_cycle(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "logistic-cycle"."""
    points = [_numbers(row, "a sample") for row in theorem.list("points")]
    descent = _Descent(points, _numbers(theorem.list("weights"), "the weights"))
    period, times = theorem.fraction("period"), theorem.interval("times")
    steps.hold(period.denominator == 1 and 2 <= period <= 64, "the period is no whole number from 2 to 64")
    first: Fraction | None = None
    last: Fraction | None = None
    for found in proof.list("boxes"):
        fields = Fields(found, "a box")
        low, high = fields.interval("eta")
        steps.hold(low > 0, "a step size is not positive")
        steps.hold(last is None or low == last, f"no box begins at the step size {last}, where one ends")
        box = [Range.of(*ends) for ends in fields.intervals("start", len(points[0]))]
        _check_cycle(descent, box, Range.of(low, high), int(period), steps)
        fields.close()
        steps.count("boxes")
        first, last = (low if first is None else first), high
    if first is None or last is None:
        raise Refused("there is no box")
    _check_range(descent, proof, (first, last), times, steps)


def _check_cycle(descent: "_Descent", box: Vector, eta: Range, period: int, steps: Steps) -> None:
    """Steps 1 and 2."""
    centre = [side.middle for side in box]
    image, at, product = box, centre, _identity(len(box))
    for number in range(1, period + 1):
        product = _times(descent.derivative(image, eta), product)
        image, at = descent.step(image, eta), descent.step(at, eta)
        apart = any(a.high < b.low or b.high < a.low for a, b in zip(image, box, strict=True))
        steps.hold(number == period or apart, f"after {number} steps the box may be met again")
    offset = [side - middle for side, middle in zip(box, centre, strict=True)]
    for row, side, middle, end in zip(product, box, centre, at, strict=True):
        moved = _dot(row, offset)
        returned = end + moved
        steps.hold(side.low < returned.low and returned.high < side.high, "the box is not taken into itself")
        half = max(side.high - middle.high, middle.low - side.low)
        steps.hold(max(abs(moved.low), abs(moved.high)) < half, "the box is not shrunk")


def _check_range(
    descent: "_Descent", proof: Fields, eta: tuple[Fraction, Fraction], times: tuple[Fraction, Fraction], steps: Steps
) -> None:
    """Steps 3 and 4."""
    dimension = len(descent.points[0])
    box = [Range.of(*ends) for ends in proof.intervals("minimum", dimension)]
    inverse = [_numbers(row, "the inverse") for row in proof.list("inverse")]
    square = len(inverse) == dimension and all(len(row) == dimension for row in inverse)
    steps.hold(square, "the inverse has another size")
    centre = [side.middle for side in box]
    gradient, hessian = descent.gradient(centre), descent.hessian(box)
    newton = [[Range.of(entry) for entry in row] for row in inverse]
    rest = _minus(_identity(dimension), _times(newton, hessian))
    offset = [side - middle for side, middle in zip(box, centre, strict=True)]
    for row, near, side, middle in zip(newton, rest, box, centre, strict=True):
        found = middle - _dot(row, gradient) + _dot(near, offset)
        steps.hold(side.low < found.low and found.high < side.high, "the gradient need not vanish in the box")
    below, beyond = (
        [[bound * int(i == j) - entry * size for j, entry in enumerate(row)] for i, row in enumerate(hessian)]
        for bound, size in zip(times, eta, strict=True)
    )
    steps.hold(all(minor.sign == 1 for minor in _minors(below)), f"{times[0]}/λ may be less than all step sizes")
    some = any(beyond[k][k].sign == -1 for k in range(dimension)) or _minors(beyond)[-1].sign == -1
    steps.hold(some, f"{times[1]}/λ may be more than all step sizes")


class _Descent:
    """Gradient descent on the samples."""

    def __init__(self, points: list[list[Fraction]], weights: list[Fraction]) -> None:
        if not points or {len(point) for point in points} not in ({1}, {2}):
            raise Refused("the samples are not all of one number, or all of two")
        if len(weights) != len(points) or min(weights) <= 0:
            raise Refused("the weights are not one positive number for each sample")
        self.points = points
        self.shares = [weight / sum(weights) for weight in weights]

    def gradient(self, w: Vector) -> Vector:
        """Of the loss."""
        total = [Range.of(0)] * len(w)
        for point, share in zip(self.points, self.shares, strict=True):
            slope = _logistic(-_dot(w, point)) * share
            total = [entry - slope * x for entry, x in zip(total, point, strict=True)]
        return total

    def hessian(self, w: Vector) -> Matrix:
        """Of the loss."""
        total = [[Range.of(0)] * len(w) for _ in w]
        for point, share in zip(self.points, self.shares, strict=True):
            margin = _dot(w, point)
            bend = _logistic(margin) * _logistic(-margin) * share
            total = [
                [entry + bend * (x * y) for entry, y in zip(row, point, strict=True)]
                for row, x in zip(total, point, strict=True)
            ]
        return total

    def derivative(self, w: Vector, eta: Range) -> Matrix:
        """F'."""
        return _minus(_identity(len(w)), [[entry * eta for entry in row] for row in self.hessian(w)])

    def step(self, w: Vector, eta: Range) -> Vector:
        """F, by the mean value theorem about the middle."""
        centre = [side.middle for side in w]
        offset = [side - middle for side, middle in zip(w, centre, strict=True)]
        return [
            middle - slope * eta + _dot(row, offset)
            for middle, slope, row in zip(centre, self.gradient(centre), self.derivative(w, eta), strict=True)
        ]


def _logistic(y: Range) -> Range:
    """1/(1 + exp(-y)), which rises."""
    low, high = (_logistic_at(Range(end, end)) for end in (y.low, y.high))
    return low.join(high)


def _logistic_at(y: Range) -> Range:
    if y.low >= 0:
        return 1 / (1 + (-y).exp())
    power = y.exp()
    return power / (1 + power)


def _dot(first: Sequence[Range], second: Sequence[Range | Fraction]) -> Range:
    total = Range.of(0)
    for a, b in zip(first, second, strict=True):
        total = total + a * b
    return total


def _times(first: Matrix, second: Matrix) -> Matrix:
    columns = [list(column) for column in zip(*second, strict=True)]
    return [[_dot(row, column) for column in columns] for row in first]


def _minus(first: Matrix, second: Matrix) -> Matrix:
    return [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]


def _identity(dimension: int) -> Matrix:
    return [[Range.of(int(i == j)) for j in range(dimension)] for i in range(dimension)]


def _minors(matrix: Matrix) -> list[Range]:
    """The leading ones of a matrix of size one or two."""
    first = matrix[0][0]
    return [first] if len(matrix) == 1 else [first, first * matrix[1][1] - matrix[0][1] * matrix[1][0]]


def _numbers(found: object, what: str) -> list[Fraction]:
    if not isinstance(found, list | tuple):
        raise Refused(f"{what} is no list of numbers")
    return [fraction(entry, what) for entry in found]
