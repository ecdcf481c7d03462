"""Many intervals at once: arrays of integers in units of 2^-26, every operation rounded outward.

No product overflows as long as the magnitudes of its factors multiply to less than 2^10; who uses it keeps to that.
"""

from fractions import Fraction

import numpy as np

BITS = 26
UNIT = 1 << BITS


class Grid:
    """Intervals from `low` to `high`, arrays of one length or single integers."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, low: Fraction | int, high: Fraction | int | None = None) -> "Grid":
        """The narrowest one around rational numbers."""
        ends = Fraction(low) * UNIT, Fraction(low if high is None else high) * UNIT
        return cls(np.int64(ends[0] // 1), np.int64(-(-ends[1] // 1)))  # type: ignore[arg-type]

    def __add__(self, other: "Grid") -> "Grid":
        return Grid(self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Grid") -> "Grid":
        return Grid(self.low - other.high, self.high - other.low)

    def __mul__(self, other: "Grid") -> "Grid":
        products = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        low, high = np.minimum.reduce(products), np.maximum.reduce(products)
        return Grid(low >> BITS, -(-high >> BITS))

    def square(self) -> "Grid":
        """Of each number, so that none is negative."""
        product = self * self
        across = (self.low <= 0) & (self.high >= 0)
        return Grid(np.where(across, 0, product.low), product.high)

    def meet(self, other: "Grid") -> "Grid":
        """What lies in both, where both hold the same thing."""
        return Grid(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def join(self, other: "Grid") -> "Grid":
        """What holds both."""
        return Grid(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def where(self, condition: np.ndarray, other: "Grid") -> "Grid":
        """This one, or the other where the condition is not so."""
        return Grid(np.where(condition, self.low, other.low), np.where(condition, self.high, other.high))

    def middle(self) -> "Grid":
        """One number in each."""
        at = (self.low + self.high) >> 1
        return Grid(at, at)

    def ends(self) -> "tuple[Grid, Grid]":
        """The lower ends, and the upper ones."""
        return Grid(self.low, self.low), Grid(self.high, self.high)

    def halves(self) -> "tuple[Grid, Grid]":
        """Two that cover it."""
        at = (self.low + self.high) >> 1
        return Grid(self.low, at), Grid(at, self.high)

    def magnitude(self) -> np.ndarray:
        """The largest, in units of 2^-26."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def __getitem__(self, chosen: np.ndarray) -> "Grid":
        return Grid(self.low[chosen], self.high[chosen])
