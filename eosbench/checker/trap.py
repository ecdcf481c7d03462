"""An interval that draws in every start left of it, on which F falls and F o F rises, for every step size of a range.

On each box of step sizes, for an interval from 0, a critical point of f, to the end of `within`:

1. F rises up to a point a, F falls from a point b to hi, and F < hi on [a, b]: F <= hi on [0, hi];
2. b <= lo < m < hi and F(hi) > lo: F maps [lo, hi] into itself, falling;
3. f' < 0 on (0, lo]: left of lo every step goes up, and never beyond hi;
4. eta f''(m) >= 2, and more inside the box: the minimizer m repels.
"""

from fractions import Fraction

from eosbench.checker.descent import Descent, sign
from eosbench.checker.ranges import Range
from eosbench.checker.steps import Fields, Steps, cells
from eosbench.checker.two_cycle import Interval, boxes, step_sizes


def check_trap(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "trap"."""
    loss, m, within = Descent(theorem.text("loss")), theorem.fraction("minimizer"), theorem.interval("within")
    eta = step_sizes(theorem, loss, m, steps)
    steps.hold(within[0] == 0 and loss.is_critical(within[0]), "the interval does not begin at 0, a critical point")
    steps.hold(loss.is_critical(m), f"f' does not vanish at {m}, exactly")
    curvature = loss.slopes(Range.of(m))[1]

    def on_box(fields: Fields, ends: Interval, where: str) -> None:
        _check_box(loss, m, within[1], curvature, fields, ends, where, steps)

    boxes(proof, eta, steps, on_box)


def _check_box(
    loss: Descent, m: Fraction, end: Fraction, curvature: Range, fields: Fields, ends: Interval, where: str,
    steps: Steps,
) -> None:  # fmt: skip
    eta, (a, b), (lo, hi) = Range.of(*ends), fields.interval("critical"), fields.interval("trap")
    steps.hold((Range.of(ends[0]) * curvature).low >= Range.of(2).high, f"in {where} the minimizer need not repel")
    steps.hold(0 < a < b <= lo < m < hi <= end, f"in {where} the trap is not about the minimizer, in the interval")
    highest = sign(lambda x, eta: loss.step(x, eta) - hi, Range.of(a, b), eta)
    steps.hold(highest == -1, f"in {where} F may exceed the trap next to its maximum")
    lowest = sign(lambda x, eta: loss.step(x, eta) - lo, Range.of(hi), eta)
    steps.hold(lowest == 1, f"in {where} F may take the end of the trap below it")
    parts = fields.parts("cells", 3)
    asked = (
        (Fraction(0), a, loss.stretch, 1, "F does not rise"),
        (b, hi, loss.stretch, -1, "F does not fall"),
        (Fraction(0), lo, lambda x, eta: loss.slopes(x, 1)[0], -1, "f' < 0 is not so"),
    )
    for part, (low, high, of, wanted, failure) in zip(parts, asked, strict=True):
        for x, y in cells(part, low, high, f"the cells of {where}"):
            at = Range.of(x, y)
            # f' vanishes at 0: on a cell from there f'' < 0 says that f' < 0 on the rest of it.
            first = x == 0 and failure == "f' < 0 is not so"
            found = sign(lambda x, eta: loss.curvature(x), at, eta) if first else sign(of, at, eta)
            steps.hold(found == wanted, f"in {where} {failure} on [{float(x):.9g}, {float(y):.9g}]")
            steps.count("cells")
