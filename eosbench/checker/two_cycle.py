"""One orbit of period two in an interval, for every step size of a range, and whether it attracts.

On each box of step sizes, with G = H/(x - m) for the minimizer m:

1. G changes its sign over a box left of m and over one right of it, and is monotone on each: one zero in each;
2. f' does not vanish there, and F maps the left box into the search interval, beyond the left box: its zero has period
   two, and its partner is, by 3, that of the right box;
3. on the rest of the search interval H has no zero but m and critical points, next to which H is monotone;
4. the product of F' over the two lies in (-1, 1), or below -1.
"""

from fractions import Fraction
from typing import Any

from eosbench.checker.descent import Descent, sign
from eosbench.checker.ranges import BITS, Range
from eosbench.checker.steps import Fields, Refused, Steps, cells, fraction

Interval = tuple[Fraction, Fraction]


def check_two_cycle(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "two-cycle"."""
    loss, m, search = Descent(theorem.text("loss")), theorem.fraction("minimizer"), theorem.interval("search")
    orbit = theorem.text("orbit")
    if orbit not in ("attracts", "repels", "exists"):
        raise Refused(f"the orbit is said to be {orbit!r}")
    eta = step_sizes(theorem, loss, m, steps)
    critical = [m, *(fraction(point, "a critical point") for point in proof.list("critical"))]
    for point in critical:
        steps.hold(loss.is_critical(point), f"f' does not vanish at {point}, exactly")

    def on_box(fields: Fields, within: Interval, where: str) -> None:
        _Box(loss, m, search, critical, fields, within, where).check(orbit, steps)

    boxes(proof, eta, steps, on_box)


def step_sizes(theorem: Fields, loss: Descent, m: Fraction, steps: Steps) -> Interval:
    """The step sizes of the theorem, which may be told in units of the edge 2/f''(m); where f'' > 0."""
    low, high = theorem.interval("eta")
    unit = theorem.text("unit")
    curvature = loss.slopes(Range.of(m))[1]
    steps.hold(curvature.sign == 1, f"f'' is not positive at {m}")
    if unit not in ("1", "2/f''"):
        raise Refused(f"the unit of the step sizes is {unit!r}")
    if unit == "1":
        return low, high
    around = Range.of(low, high) * (2 / curvature)
    return Fraction(around.low, 2**BITS), Fraction(around.high, 2**BITS)


def boxes(proof: Fields, eta: Interval, steps: Steps, on_box: Any) -> None:
    """Check the boxes of a proof one by one, and that they cover the step sizes without a gap."""
    at: Fraction | None = None
    for found in proof.list("boxes"):
        fields = Fields(found, "a box")
        low, high = fields.interval("eta")
        where = f"the box of step sizes [{float(low):.9g}, {float(high):.9g}]"
        if at is None:
            steps.hold(low <= eta[0], f"{where} is the first, and begins above the range")
        else:
            steps.hold(low == at, f"{where} does not begin where the one before it ends")
        on_box(fields, (low, high), where)
        fields.close()
        steps.count("boxes")
        at = high
    steps.hold(at is not None and at >= eta[1], "the boxes do not reach the end of the step sizes")


class _Box:
    def __init__(
        self, loss: Descent, m: Fraction, search: Interval, critical: list[Fraction], fields: Fields,
        within: Interval, where: str,
    ) -> None:  # fmt: skip
        self.loss, self.m, self.search, self.critical, self.where = loss, m, search, critical, where
        self.eta, self.points, self.parts = Range.of(*within), fields.list("points"), fields.list("cells")

    def check(self, orbit: str, steps: Steps) -> None:
        left, right = (Fields({"point": point}, "the points").interval("point") for point in self._two(self.points))
        (a, b), (c, d) = left, right
        order = self.search[0] < a < b < self.m < c < d < self.search[1]
        steps.hold(order, f"the points of {self.where} are not left and right of the minimizer, in the search interval")
        for (low, high), name in ((left, "left"), (right, "right")):
            self._one_zero(low, high, name, steps)
        image = self.loss.step(Range.of(a, b), self.eta)
        beyond = image.low > Range.of(b).high and image.high < Range.of(self.search[1]).low
        steps.hold(beyond, f"in {self.where} a step does not take the left point beyond itself and into the interval")
        product = self.loss.stretch(Range.of(a, b), self.eta) * self.loss.stretch(Range.of(c, d), self.eta)
        if orbit == "attracts":
            steps.hold((1 - product).sign == 1 == (1 + product).sign, f"in {self.where} the orbit need not attract")
        if orbit == "repels":
            steps.hold((1 + product).sign == -1, f"in {self.where} the orbit need not repel")
        if len(self.parts) != 3:
            raise Refused(f"{self.where} has cells of {len(self.parts)} parts in place of three")
        ends = ((self.search[0], a), (b, c), (d, self.search[1]))
        for part, (low, high) in zip(self.parts, ends, strict=True):
            points = Fields({"cells": part}, self.where).points("cells", 2)
            for x, y in cells(points, low, high, f"the cells of {self.where}"):
                self._vacant(x, y, steps)

    def _two(self, points: Any) -> Any:
        if len(points) != 2:
            raise Refused(f"{self.where} has {len(points)} points in place of two")
        return points

    def _one_zero(self, low: Fraction, high: Fraction, name: str, steps: Steps) -> None:
        """Steps 1 and the first half of 2."""
        ends = [sign(self.loss.value, Range.of(end), self.eta) for end in (low, high)]
        changes = ends[0] * ends[1] == -1  # as x - m has one sign there
        steps.hold(changes, f"in {self.where} H does not change its sign over the {name} point")
        bend = sign(lambda x, eta: self.loss.bend(x, eta, self.m), Range.of(low, high), self.eta)
        steps.hold(bend != 0, f"in {self.where} the {name} point may not be the only one in its box")
        fixed = self.loss.slopes(Range.of(low, high))[0].sign
        steps.hold(fixed != 0, f"in {self.where} the {name} point may be a critical one")

    def _vacant(self, low: Fraction, high: Fraction, steps: Steps) -> None:
        """Step 3."""
        known = [point for point in self.critical if low <= point <= high]
        of = self.loss.derivative if len(known) == 1 else self.loss.value
        empty = sign(of, Range.of(low, high), self.eta) != 0
        steps.hold(empty, f"in {self.where} there may be another orbit within [{float(low):.9g}, {float(high):.9g}]")
        steps.count("cells")
