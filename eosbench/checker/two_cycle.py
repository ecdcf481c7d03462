"""One orbit of period two in an interval, for every step size of a range, and whether it attracts.

On each box of step sizes, with G = H/(x - m) for the minimizer m:

1. G changes its sign over a box left of m and over one right of it, and is monotone on each: one zero in each;
2. f' does not vanish there, and F maps the left box into the search interval, beyond the left box: its zero has period
   two, and its partner is, by 3, that of the right box;
3. on the rest of the search interval H has no zero but m and critical points, next to which H is monotone;
4. the product of F' over the two lies in (-1, 1), or below -1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

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
    boxes(proof, eta, steps, _Orbit(loss, m, search, critical, orbit, steps).check)


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


def boxes(proof: Fields, eta: Interval, steps: Steps, on_box: Callable[[Fields, Interval, str], None]) -> None:
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


@dataclass(frozen=True)
class _Orbit:
    """What is to hold on every box."""

    loss: Descent
    m: Fraction
    search: Interval
    critical: list[Fraction]
    orbit: str
    steps: Steps

    def check(self, fields: Fields, within: Interval, where: str) -> None:
        hold, eta = self.steps.hold, Range.of(*within)
        (a, b), (c, d) = fields.intervals("points", 2)
        order = self.search[0] < a < b < self.m < c < d < self.search[1]
        hold(order, f"the points of {where} are not left and right of the minimizer, in the search interval")
        left, right = Range.of(a, b), Range.of(c, d)
        self._one_zero((a, b), eta, f"in {where} the left point")
        self._one_zero((c, d), eta, f"in {where} the right point")
        image = self.loss.step(left, eta)
        beyond = image.low > Range.of(b).high and image.high < Range.of(self.search[1]).low
        hold(beyond, f"in {where} a step does not take the left point beyond itself and into the interval")
        product = self.loss.stretch(left, eta) * self.loss.stretch(right, eta)
        if self.orbit == "attracts":
            hold((1 - product).sign == 1 == (1 + product).sign, f"in {where} the orbit need not attract")
        if self.orbit == "repels":
            hold((1 + product).sign == -1, f"in {where} the orbit need not repel")
        ends = ((self.search[0], a), (b, c), (d, self.search[1]))
        for part, (low, high) in zip(fields.parts("cells", 3), ends, strict=True):
            for cell in cells(part, low, high, f"the cells of {where}"):
                self._vacant(cell, eta, where)

    def _one_zero(self, ends: Interval, eta: Range, point: str) -> None:
        """Step 1, and the first half of 2."""
        signs = [sign(self.loss.value, Range.of(end), eta) for end in ends]
        self.steps.hold(signs[0] * signs[1] == -1, f"{point} is in a box over which H does not change its sign")
        bend = sign(lambda x, eta: self.loss.bend(x, eta, self.m), Range.of(*ends), eta)
        self.steps.hold(bend != 0, f"{point} may not be the only one in its box")
        fixed = self.loss.slopes(Range.of(*ends))[0].sign
        self.steps.hold(fixed != 0, f"{point} may be a critical one")

    def _vacant(self, cell: Interval, eta: Range, where: str) -> None:
        """Step 3."""
        known = [point for point in self.critical if cell[0] <= point <= cell[1]]
        of = self.loss.derivative if len(known) == 1 else self.loss.value
        shown = f"[{float(cell[0]):.9g}, {float(cell[1]):.9g}]"
        self.steps.hold(sign(of, Range.of(*cell), eta) != 0, f"in {where} there may be another orbit within {shown}")
        self.steps.count("cells")
