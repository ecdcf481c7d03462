"""Polynomials of one variable with rational coefficients, exactly: a list of them, from the constant one on."""

from fractions import Fraction
from itertools import zip_longest
from math import comb

from eosbench.checker.steps import Refused


class Polynomial:
    """Coefficients of 1, z, z² ..., and the arithmetic that a formula needs."""

    def __init__(self, coefficients: list[Fraction]) -> None:
        self.c = list(coefficients)
        while len(self.c) > 1 and self.c[-1] == 0:
            self.c.pop()

    def __neg__(self) -> "Polynomial":
        return Polynomial([-a for a in self.c])

    def __add__(self, other: "Polynomial | Fraction") -> "Polynomial":
        return Polynomial([a + b for a, b in zip_longest(self.c, _coefficients(other), fillvalue=Fraction(0))])

    __radd__ = __add__

    def __sub__(self, other: "Polynomial | Fraction") -> "Polynomial":
        return self + -other

    def __rsub__(self, other: Fraction) -> "Polynomial":
        return -self + other

    def __mul__(self, other: "Polynomial | Fraction") -> "Polynomial":
        b = _coefficients(other)
        product = [Fraction(0)] * (len(self.c) + len(b) - 1)
        for i, x in enumerate(self.c):
            for j, y in enumerate(b):
                product[i + j] += x * y
        return Polynomial(product)

    __rmul__ = __mul__

    def __pow__(self, power: int) -> "Polynomial":
        result = Polynomial([Fraction(1)])
        for _ in range(power):
            result = result * self
        return result

    def __truediv__(self, other: object) -> "Polynomial":
        raise Refused("a quotient, where a polynomial is asked for")

    def at(self, inner: "Polynomial") -> "Polynomial":
        """This one of another."""
        result = Polynomial([Fraction(0)])
        for a in reversed(self.c):
            result = result * inner + a
        return result

    def derivative(self) -> "Polynomial":
        """The derivative."""
        return Polynomial([a * k for k, a in enumerate(self.c)][1:] or [Fraction(0)])

    @property
    def order(self) -> int | None:
        """That of the zero at 0; None for the polynomial zero."""
        return next((k for k, a in enumerate(self.c) if a), None)

    def sign(self, low: Fraction, high: Fraction, depth: int = 14) -> int:
        """Its sign on [low, high]; 0 if it has a zero there, or that was not settled.

        It has none where, about the middle, the constant term outweighs all others.
        """
        centre, radius = (low + high) / 2, (high - low) / 2
        p = self.c
        about = [sum((a * comb(k, j) * centre ** (k - j) for k, a in enumerate(p[j:], start=j)), Fraction(0))
                 for j in range(len(p))]  # fmt: skip
        if abs(about[0]) > sum(abs(a) * radius**j for j, a in enumerate(about[1:], start=1)):
            return 1 if about[0] > 0 else -1
        if not depth or low == high:
            return 0
        first = self.sign(low, centre, depth - 1)
        return first if first and self.sign(centre, high, depth - 1) == first else 0


def _coefficients(value: Polynomial | Fraction) -> list[Fraction]:
    return value.c if isinstance(value, Polynomial) else [Fraction(value)]
