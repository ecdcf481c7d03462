"""f >= 0 on an interval, and zero at one point only: f and f' vanish there, exactly, and f'' > 0 on cells."""

from eosbench.checker.formulas import parse
from eosbench.checker.jets import derivatives
from eosbench.checker.ranges import Range
from eosbench.checker.steps import Fields, Steps, cells


def check_minimum(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "minimum"."""
    tree, point = parse(theorem.text("function")), theorem.fraction("point")
    low, high = theorem.interval("domain")
    steps.hold(low <= point <= high, f"the point {point} lies outside the domain")
    at, slope = derivatives(tree, 1)(point)
    steps.hold(at == 0, f"the function does not vanish at {point}")
    steps.hold(slope == 0, f"its derivative does not vanish at {point}")
    of = derivatives(tree, 2)
    for a, b in cells(proof.points("cells"), low, high, "the cells"):
        steps.hold(of(Range.of(a, b))[2].sign == 1, f"f'' > 0 is not so on [{float(a):.9g}, {float(b):.9g}]")
        steps.count("cells")
