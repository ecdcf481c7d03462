"""Boxes of starts from which gradient descent on ½ (x y - 1)² ends on the orbit of period two with x = y.

In s = x + y and D = (x - y)² a step is s (1 - eta r), D (1 + eta r)² with r = (s² - D)/4 - 1. It is checked that two
steps map a target, a box of s > 0 and D from 0 on, into itself, with |d s/d s| < 1 and D times less than 1. Then D
tends to 0 and s to a fixed point s* of two steps on D = 0. There x = y = s*/2 has period one or two under descent on ¼
(x² - 1)²: it is 1, sqrt((2 + eta)/eta) or one of the orbit. Two steps multiply D by 1 at the first and by 81 at the
second, which thus do not lie in the target: what remains is the orbit. A box of starts is accepted if some iterate of
each of its parts lies in the target.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from eosbench.checker.grids import UNIT, Grid
from eosbench.checker.statement import same
from eosbench.checker.steps import Fields, Refused, Steps, cells

LOSS = "1/2*(x*y - 1)**2"
_LARGEST = 4  # s and D beyond are given up: within, no product overflows
_ITERATES, _DEPTH, _TARGET_DEPTH = 300, 5, 7
_MOST_CELLS = 200_000  # more are not halved once more, so that a wrong certificate is refused soon

Runs = list[tuple[int, int, int, int]]


class _Step:
    """One step, and its derivatives in s and D."""

    def __init__(self, low: Fraction, high: Fraction) -> None:
        self.eta, self.half, self.quarter = Grid.of(low, high), Grid.of(low / 2, high / 2), Grid.of(low / 4, high / 4)

    def spread(self, s: Grid, d: Grid) -> Grid:
        """1 + eta r."""
        return Grid.of(1) + self.eta * ((s.square() - d) * Grid.of(Fraction(1, 4)) - Grid.of(1))

    def natural(self, s: Grid, d: Grid) -> tuple[Grid, Grid]:
        """By the formula."""
        spread = self.spread(s, d)
        return s * (Grid.of(2) - spread), d * spread.square()

    def slopes(self, s: Grid, d: Grid) -> tuple[tuple[Grid, Grid], tuple[Grid, Grid]]:
        """Of s after a step, in s and in D; of D after a step, in s and in D."""
        spread = self.spread(s, d)
        s_by_s = Grid.of(2) - spread - self.half * s.square()
        return (s_by_s, self.quarter * s), (self.eta * d * spread * s, spread.square() - self.half * d * spread)

    def __call__(self, s: Grid, d: Grid) -> tuple[Grid, Grid]:
        """By the formula, by the mean value theorem, and by its ends where s after a step is monotone in s."""
        (s_by_s, s_by_d), (d_by_s, d_by_d) = self.slopes(s, d)
        s0, d0 = s.middle(), d.middle()
        (s1, d1), (about_s, about_d) = self.natural(s, d), self.natural(s0, d0)
        s1 = s1.meet(about_s + s_by_s * (s - s0) + s_by_d * (d - d0))
        d1 = d1.meet(about_d + d_by_s * (s - s0) + d_by_d * (d - d0))
        left, right = (self.natural(end, d)[0] for end in s.ends())
        monotone = (s_by_s.low > 0) | (s_by_s.high < 0)
        return s1.meet(left.join(right).where(monotone, s1)), d1


def check_basin(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "basin"."""
    if same(theorem.text("loss"), LOSS):
        raise Refused(f"the loss is not {LOSS}, the one that this checker knows")
    low, high = theorem.interval("eta")
    steps.hold(low > 0 and high <= 2, "the step sizes do not lie in (0, 2]")
    in_s, in_d, share = theorem.interval("s"), theorem.interval("D"), theorem.fraction("share")
    fits = in_s[0] > 0 and in_s[1] <= _LARGEST and in_d[0] >= 0 and in_d[1] <= _LARGEST
    steps.hold(fits, f"the domain does not lie in s > 0, D >= 0, up to {_LARGEST}")
    ends, most = proof.interval("target_s"), proof.fraction("target_D")
    steps.hold(ends[0] > 0 and ends[1] <= _LARGEST and 0 < most <= _LARGEST, "the target does not lie in s > 0, D >= 0")
    runs, shape = _runs(proof), _shape(proof)
    area = _area(runs, shape)
    steps.hold(area >= share, f"the boxes are {float(area):.4f} of the domain, not {float(share):g}")
    boxes = _boxes(runs, shape, in_s, in_d)
    for part in cells(proof.points("eta"), low, high, "the parts of the step sizes"):
        _check_part(_Step(*part), (Grid.of(*ends), Grid.of(0, most)), boxes, steps)
    steps.count("boxes", len(boxes[0].low))


def _check_part(step: _Step, target: tuple[Grid, Grid], boxes: tuple[Grid, Grid], steps: Steps) -> None:
    """The target and the boxes, for some of the step sizes."""
    # one unit inside, whatever was rounded outward
    inner, below = (target[0].low + 1, target[0].high - 1), target[1].high - 1

    def inside(s: Grid, d: Grid) -> np.ndarray:
        return (s.low > inner[0]) & (s.high < inner[1]) & (d.high < below)

    def contracts(s: Grid, d: Grid) -> np.ndarray:
        s1, d1 = step(s, d)
        kept = (s1.low > 0) & (s1.high < _LARGEST * UNIT) & (d1.high < _LARGEST * UNIT)
        s1, d1 = (part.where(kept, Grid.of(1)) for part in (s1, d1))
        (s_by_s, _), (d_by_s, _) = step.slopes(s, d)
        (then_by_s, then_by_d), _ = step.slopes(s1, d1)
        slope = then_by_s * s_by_s + then_by_d * d_by_s
        shrink = (step.spread(s, d) * step.spread(s1, d1)).square()
        return kept & inside(*step(s1, d1)) & (slope.magnitude() < UNIT) & (shrink.high < UNIT)

    def arrives(s: Grid, d: Grid) -> np.ndarray:
        arrived, going = np.zeros(len(s.low), bool), np.arange(len(s.low))
        for _ in range(_ITERATES):
            there = inside(s, d)
            arrived[going[there]] = True
            kept = ~there & (s.low > 0) & (s.high < _LARGEST * UNIT) & (d.high < _LARGEST * UNIT)
            kept &= s.high - s.low < UNIT // 2
            if not kept.any():
                break
            going, s, d = going[kept], s[kept], d[kept]
            s, d = step(s, d)
        return arrived

    whole = tuple(Grid(np.atleast_1d(side.low), np.atleast_1d(side.high)) for side in target)
    steps.hold(_everywhere(contracts, whole, _TARGET_DEPTH) is None, "two steps need not map the target into itself")
    failed = _everywhere(arrives, boxes, _DEPTH)
    if failed is not None:
        s, d = ([float(end) / UNIT for end in ends] for ends in failed)
        raise Refused(f"from s in [{s[0]:.6g}, {s[1]:.6g}], D in [{d[0]:.6g}, {d[1]:.6g}] it need not arrive")
    steps.count("steps", len(boxes[0].low))


def _everywhere(
    holds: Callable[[Grid, Grid], np.ndarray], boxes: Any, depth: int
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """None if it holds on all the cells of a subdivision of the boxes; else the ends of a cell on which it did not."""
    s, d = boxes
    for left in range(depth, -1, -1):
        open_ones = ~holds(s, d)
        s, d = s[open_ones], d[open_ones]
        if len(s.low) == 0:
            return None
        if len(s.low) > _MOST_CELLS:
            break
        if left:
            quarters = [(x, y) for x in s.halves() for y in d.halves()]
            s, d = (Grid(np.concatenate([q[k].low for q in quarters]), np.concatenate([q[k].high for q in quarters]))
                    for k in (0, 1))  # fmt: skip
    return (s.low[0], s.high[0]), (d.low[0], d.high[0])


def _shape(proof: Fields) -> tuple[int, int]:
    shape = proof.list("grid")
    if len(shape) != 2 or not all(type(n) is int and 0 < n <= 256 for n in shape):
        raise Refused("the grid is no pair of whole numbers up to 256")
    return shape[0], shape[1]


def _runs(proof: Fields) -> Runs:
    """(level, row, from, to): boxes of the grid, halved `level` times, next to each other."""
    runs = []
    for run in proof.list("boxes"):
        right = isinstance(run, list | tuple) and len(run) == 4 and all(type(n) is int for n in run)
        if not right or not (0 <= run[0] <= 4 and run[1] >= 0 and 0 <= run[2] < run[3]):
            raise Refused(f"{run!r} is no run of boxes [level, row, from, to]")
        runs.append(tuple(run))
    return runs


def _area(runs: Runs, shape: tuple[int, int]) -> Fraction:
    """The share of the domain, of boxes that do not overlap."""
    finest = max((level for level, *_ in runs), default=0)
    painted = np.zeros((shape[0] << finest, shape[1] << finest), bool)
    for level, row, start, end in runs:
        size = 1 << (finest - level)
        if row >= shape[0] << level or end > shape[1] << level:
            raise Refused(f"the boxes {[level, row, start, end]} lie outside the domain")
        part = painted[row * size : (row + 1) * size, start * size : end * size]
        if part.any():
            raise Refused(f"the boxes {[level, row, start, end]} count twice")
        part[:] = True
    return Fraction(int(painted.sum()), painted.size)


def _boxes(runs: Runs, shape: tuple[int, int], in_s: Any, in_d: Any) -> tuple[Grid, Grid]:
    """The boxes' sides in s and D, rounded outward."""
    found = [(level, row, at) for level, row, start, end in runs for at in range(start, end)]
    level, *at = np.array(found, np.int64).reshape(-1, 3).T
    width = 16 >> level
    sides = []
    for place, (low, high), parts in zip(at, (in_s, in_d), shape, strict=True):
        base, step = low * UNIT, (high - low) * UNIT / (parts << 4)  # of the finest grid there may be
        lower = np.array([(base + step * k) // 1 for k in range(parts << 4)], np.int64)
        upper = np.array([-(-(base + step * k) // 1) for k in range(1, (parts << 4) + 1)], np.int64)
        sides.append(Grid(lower[place * width], upper[(place + 1) * width - 1]))
    return sides[0], sides[1]
