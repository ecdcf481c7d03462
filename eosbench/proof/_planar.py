"""A certified part of the basin of the period-2 orbit of gradient descent on ``½ (x y - 1)²``.

In ``s = x + y`` and ``D = (x - y)²`` a step reads ``s (1 - eta r), D (1 + eta r)²`` with ``r = (s² - D)/4 - 1``,
exactly. Boxes in (s, D) are stepped with float64 arithmetic, every operation rounded outward, so that a box holds every
point that it should.

The target is a box around (2 delta_1, 0), with s > 0, that two steps map into itself, with the derivative of s in s
below 1 in magnitude and D multiplied by less than 1. In it D tends to 0, and on D = 0 two steps contract s to one fixed
point s* of theirs; as s depends on D continuously, every path tends to (s*, 0). With x = y = s*/2 that is a point of
period one or two of the quartic: 1, delta_1, delta_2 or sqrt((2 + eta)/eta). At the first r = 0 and at the last
r = 2/eta, so that two steps multiply D by 1 or by 81: these do not lie in the target. What remains is the orbit. A box
of starts is certified if some iterate of it lies inside the target.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eosbench.proof._data import certificate, texts
from eosbench.proof._intervals import Interval
from eosbench.proof._outward import Bounds, add, minus, square, times
from eosbench.proof._plane_step import Step, constant

_SHAPE = (64, 32)  # boxes of the domain, before they are halved
_PARTS = 4  # of an interval of step sizes, each of which is easier to check


@dataclass(frozen=True)
class BasinCertificate:
    """Boxes of starts in (s, D) from which every path ends on the period-2 orbit with x = y.

    Attributes:
        eta: the step sizes.
        centre: of the target in s, 2 delta_1 up to rounding.
        target: half-width in s around `centre`, and largest D; zeros if no target was proved.
        contraction: in s and in D over two steps within the target.
        boxes: low and high ends of s and of D, shape (boxes, 4).
        domain: ends of s and of D of the whole domain.
        share: of the domain that is to be proved.
    """

    eta: Interval
    centre: float
    target: tuple[float, float]
    contraction: tuple[float, float]
    boxes: Float[np.ndarray, "boxes 4"]
    domain: tuple[float, float, float, float]
    seconds: float
    share: Fraction = Fraction(0)

    @property
    def verified(self) -> bool:
        """Whether anything was proved, and as large a share as is to be."""
        return self.target[0] > 0 and len(self.boxes) > 0 and self.fraction >= self.share

    @property
    def fraction(self) -> float:
        """The certified share of the domain's area in (s, D)."""
        area = (self.domain[1] - self.domain[0]) * (self.domain[3] - self.domain[2])
        return float(np.sum((self.boxes[:, 1] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 2])) / area)

    def contains(self, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Which starts (x, y) lie in a certified box."""
        s, d = (x + y)[:, None], ((x - y) ** 2)[:, None]
        low_s, high_s, low_d, high_d = self.boxes.T
        return np.any((low_s <= s) & (s <= high_s) & (low_d <= d) & (d <= high_d), axis=1)

    def data(self) -> dict[str, Any]:
        """The certificate for a checker."""
        ends = [Fraction(str(end)) for end in self.domain]  # as they are written
        theorem = {
            "loss": "1/2*(x*y - 1)**2",
            "eta": texts(self.eta),
            "s": texts(ends[:2]),
            "D": texts(ends[2:]),
            "share": str(self.share),
        }
        half, most = (Fraction(side) for side in self.target)
        low, high = self.eta
        narrow = [low + (high - low) * k / _PARTS for k in range(_PARTS + 1)] if low < high else [low, high]
        target = {
            "target_s": texts((Fraction(self.centre) - half, Fraction(self.centre) + half)),
            "target_D": str(most),
        }
        proof = {"eta": texts(narrow), **target, "grid": list(_SHAPE), "boxes": self._runs()}
        return certificate("basin", theorem, proof)

    def _runs(self) -> list[list[int]]:
        """[level, row, from, to]: boxes of the grid, halved `level` times, next to each other in D."""
        low_s, high_s, low_d, _ = self.boxes.T
        first, last, least, most = self.domain
        level = np.rint(np.log2((last - first) / _SHAPE[0] / (high_s - low_s))).astype(int)
        row = np.rint((low_s - first) / (last - first) * (_SHAPE[0] << level)).astype(int)
        at = np.rint((low_d - least) / (most - least) * (_SHAPE[1] << level)).astype(int)
        runs: list[list[int]] = []
        for found in sorted(zip(level.tolist(), row.tolist(), at.tolist(), strict=True)):
            if runs and [*found] == [*runs[-1][:2], runs[-1][3]]:
                runs[-1][3] += 1
            else:
                runs.append([*found, found[2] + 1])
        return runs

    def describe(self) -> dict[str, float | int | str]:
        """Step sizes, target, contraction, boxes, share of the domain and seconds."""
        return {
            "eta from": float(self.eta[0]),
            "eta to": float(self.eta[1]),
            "target in s": self.target[0],
            "target in D": self.target[1],
            "contraction in s": self.contraction[0],
            "contraction in D": self.contraction[1],
            "boxes": len(self.boxes),
            "share of the domain": round(self.fraction, 4),
            "domain": "s in ({:g}, {:g}), D in [{:g}, {:g})".format(*self.domain),
            "seconds": round(self.seconds, 2),
        }


def prove_basin(
    eta: Interval,
    orbit: float,
    domain: tuple[float, float, float, float] = (0.05, 2.6, 0.0, 1.0),
    levels: int = 3,
    steps: int = 200,
    share: Fraction = Fraction(0),
) -> BasinCertificate:
    """Certify boxes of the domain for all step sizes of an interval, halving, `levels` times, those that are not.

    They are to make up at least this `share` of the domain.

    `orbit` is delta_1 in floating point: where to look for the target, no part of the proof.
    """
    started = time.perf_counter()
    step = Step(eta)
    target, contraction = _target(step, 2 * orbit)
    boxes = _grid(domain, _SHAPE)
    certified = []
    if target[0] > 0:
        for level in range(levels + 1):
            inside = _arrives(step, boxes, 2 * orbit, target, steps)
            certified.append(boxes[inside])
            boxes = boxes[~inside]
            if level < levels:
                boxes = np.concatenate([_quarter(boxes, i, j) for i in (0, 1) for j in (0, 1)])
    proved = np.concatenate(certified) if certified else np.zeros((0, 4))
    return BasinCertificate(eta, 2 * orbit, target, contraction, proved, domain, time.perf_counter() - started, share)


def _target(step: Step, centre: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The largest target of a list that is proved, and its contraction; zeros if none is."""
    for half, most in ((0.1, 0.1), (0.08, 0.05), (0.05, 0.02), (0.02, 0.005), (0.01, 0.001)):
        boxes = _grid((centre - half, centre + half, 0.0, most), (40, 20))
        s, d = (boxes[:, 0], boxes[:, 1]), (boxes[:, 2], boxes[:, 3])
        s1, d1 = step(s, d)
        s2, d2 = step(s1, d1)
        slope = _chain(step, s, d, s1, d1)
        shrink = times(square(_spread(step, s, d)), square(_spread(step, s1, d1)))
        positive = (s[0] > 0) & (s1[0] > 0)
        inside = positive & (s2[0] > centre - half) & (s2[1] < centre + half) & (d2[1] < most)
        steepest, weakest = float(np.abs(slope).max()), float(shrink[1].max())
        if inside.all() and steepest < 1 and weakest < 1:
            return (half, most), (steepest, weakest)
    return (0.0, 0.0), (np.inf, np.inf)


def _spread(step: Step, s: Bounds, d: Bounds) -> Bounds:
    """1 + eta r."""
    return minus(constant(2, s), step.growth(s, d))


def _chain(step: Step, s: Bounds, d: Bounds, s1: Bounds, d1: Bounds) -> Bounds:
    """The derivative of s after two steps in s: through s and through D after one."""
    through_s = times(step.slope(s1, d1), step.slope(s, d))
    by_d = times(step.times_eta(Fraction(1, 4), s), s1)  # d s+ / d D
    d_by_s = times(times(step.times_eta(Fraction(1), s), times(d, s)), _spread(step, s, d))  # 2 D (1 + eta r) eta s/2
    return add(through_s, times(by_d, d_by_s))


def _arrives(
    step: Callable, boxes: Float[np.ndarray, "boxes 4"], centre: float, target: tuple[float, float], steps: int
) -> Bool[np.ndarray, "boxes"]:
    arrived = np.zeros(len(boxes), bool)
    going = np.arange(len(boxes))
    s, d = (boxes[:, 0], boxes[:, 1]), (boxes[:, 2], boxes[:, 3])
    for _ in range(steps):
        inside = (s[0] > centre - target[0]) & (s[1] < centre + target[0]) & (d[1] < target[1])
        arrived[going[inside]] = True
        lost = (s[0] <= 0) | (s[1] - s[0] > 1) | ~np.isfinite(s[1]) | (d[1] > 10)
        kept = ~inside & ~lost
        if not kept.any():
            break
        going = going[kept]
        s, d = step((s[0][kept], s[1][kept]), (d[0][kept], d[1][kept]))
    return arrived


def _grid(domain: tuple[float, float, float, float], shape: tuple[int, int]) -> Float[np.ndarray, "boxes 4"]:
    s, d = np.linspace(*domain[:2], shape[0] + 1), np.linspace(*domain[2:], shape[1] + 1)
    low_s, low_d = np.meshgrid(s[:-1], d[:-1], indexing="ij")
    high_s, high_d = np.meshgrid(s[1:], d[1:], indexing="ij")
    return np.stack([low_s, high_s, low_d, high_d], axis=-1).reshape(-1, 4)


def _quarter(boxes: Float[np.ndarray, "boxes 4"], i: int, j: int) -> Float[np.ndarray, "boxes 4"]:
    low_s, high_s, low_d, high_d = boxes.T
    s, d = (low_s, (low_s + high_s) / 2, high_s), (low_d, (low_d + high_d) / 2, high_d)
    return np.stack([s[i], s[i + 1], d[j], d[j + 1]], axis=-1)
