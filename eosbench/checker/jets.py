"""Taylor polynomials, in ranges or in exact rational numbers: derivatives of formulas."""

import ast
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from eosbench.checker.formulas import elementary, value
from eosbench.checker.ranges import Range


class Jet:
    """The Taylor coefficients of a function at a point, or on a range: value, slope, half the second derivative ..."""

    __slots__ = ("c",)

    def __init__(self, coefficients: Sequence[Any]) -> None:
        self.c = list(coefficients)

    def _like(self, other: Any) -> list[Any]:
        return other.c if isinstance(other, Jet) else [other, *[self.c[0] * 0] * (len(self.c) - 1)]

    def __neg__(self) -> "Jet":
        return Jet([-a for a in self.c])

    def __add__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet([self.c[0] + other, *self.c[1:]])
        return Jet([a + b for a, b in zip(self.c, other.c, strict=True)])

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Jet":
        return self + -other

    def __rsub__(self, other: Any) -> "Jet":
        return -self + other

    def __mul__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet([a * other for a in self.c])
        a, b = self.c, other.c
        return Jet([_sum([a[i] * b[k - i] for i in range(k + 1)]) for k in range(len(a))])

    __rmul__ = __mul__

    def __pow__(self, power: int) -> "Jet":
        result = self * 0 + 1
        for _ in range(power):
            result = result * self
        return result

    def __truediv__(self, other: Any) -> "Jet":
        a, b = self.c, self._like(other)
        found: list[Any] = []
        for k in range(len(a)):
            found.append((a[k] - _sum([found[i] * b[k - i] for i in range(k)])) / b[0] if k else a[0] / b[0])
        return Jet(found)

    def __rtruediv__(self, other: Any) -> "Jet":
        return Jet(self._like(other)) / self

    def exp(self) -> "Jet":
        """By e' = u' e."""
        u, found = self.c, [elementary("exp", self.c[0])]
        for k in range(1, len(u)):
            found.append(_sum([u[i] * i * found[k - i] for i in range(1, k + 1)]) / k)
        return Jet(found)

    def log(self) -> "Jet":
        """By u l' = u'."""
        u, found = self.c, [elementary("log", self.c[0])]
        for k in range(1, len(u)):
            rest = _sum([found[i] * i * u[k - i] for i in range(1, k)]) / k if k > 1 else 0
            found.append((u[k] - rest) / u[0])
        return Jet(found)

    def sin(self) -> "Jet":
        """By s' = u' c and c' = -u' s."""
        return self._waves()[0]

    def cos(self) -> "Jet":
        """By s' = u' c and c' = -u' s."""
        return self._waves()[1]

    def _waves(self) -> "tuple[Jet, Jet]":
        u, s, c = self.c, [elementary("sin", self.c[0])], [elementary("cos", self.c[0])]
        for k in range(1, len(u)):
            parts = [u[i] * i for i in range(1, k + 1)]
            up = _sum([part * c[k - i] for i, part in enumerate(parts, start=1)]) / k
            down = _sum([part * s[k - i] for i, part in enumerate(parts, start=1)]) / k
            s.append(up)
            c.append(-down)
        return Jet(s), Jet(c)


def _sum(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def derivatives(tree: ast.expr, order: int) -> Callable[[Any], list[Any]]:
    """f, f', ..., up to that order, of a formula in x, at a rational number or on a range."""

    def at(x: Any) -> list[Any]:
        zero, factor = x * 0, 1
        number = Range.of if isinstance(x, Range) else Fraction
        found = value(tree, {"x": Jet([x, zero + 1, *[zero] * (order - 1)])}, number)
        numbers = found.c if isinstance(found, Jet) else [zero + found, *[zero] * order]
        values = []
        for k, number in enumerate(numbers):
            factor *= max(k, 1)
            values.append(number * factor)
        return values

    return at
