"""Intervals in integer arithmetic, which share nothing with the balls and floats of the provers."""

from fractions import Fraction

BITS = 80


class Range:
    """An interval with fixed-point ends, every operation rounded outward: integers only, in units of 2^-80."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    @classmethod
    def of(cls, low, high=None):
        high = low if high is None else high
        return cls(Fraction(low) * 2**BITS // 1, -(-Fraction(high) * 2**BITS // 1))

    def __add__(self, other):
        return Range(self.low + other.low, self.high + other.high)

    def __sub__(self, other):
        return Range(self.low - other.high, self.high - other.low)

    def __mul__(self, other):
        products = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Range(min(products) >> BITS, -(-max(products) >> BITS))

    def __and__(self, other):
        return Range(max(self.low, other.low), min(self.high, other.high))

    def __or__(self, other):
        return Range(min(self.low, other.low), max(self.high, other.high))

    def __contains__(self, other):
        """Whether the other lies in the interior."""
        return self.low < other.low and other.high < self.high

    def __abs__(self):
        """The largest magnitude, in units of 2^-80."""
        return max(abs(self.low), abs(self.high))

    def square(self):
        product = self * self
        if self.low <= 0 <= self.high:
            product.low = 0
        return product

    def sign(self):
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def middle(self):
        """A number in it."""
        at = (self.low + self.high) // 2
        return Range(at, at)

    def ends(self):
        return Range(self.low, self.low), Range(self.high, self.high)

    def halves(self):
        at = (self.low + self.high) // 2
        return Range(self.low, at), Range(at, self.high)
