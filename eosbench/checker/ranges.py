"""Intervals in integer arithmetic: ends in units of 2^-96, every operation rounded outward.

Whole numbers and nothing else, so that no rounding of a processor or of a library is trusted.
"""

import functools
import math
from fractions import Fraction

from eosbench.checker.steps import Refused

BITS = 96
_UNIT = 1 << BITS
_SPARE = 48  # more bits, within an elementary function
_ONE = 1 << (BITS + _SPARE)

Number = int | Fraction


class Range:
    """All real numbers from `low` to `high`, which are integers in units of 2^-96."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, low: Number, high: Number | None = None) -> "Range":
        """The narrowest one around rational numbers."""
        if isinstance(low, int) and high is None:
            return cls(low << BITS, low << BITS)
        low, high = Fraction(low), Fraction(low if high is None else high)
        return cls(
            (low.numerator << BITS) // low.denominator,
            -((-high.numerator << BITS) // high.denominator),
        )

    def __neg__(self) -> "Range":
        return Range(-self.high, -self.low)

    def __add__(self, other: "Range | Number") -> "Range":
        if not isinstance(other, Range):
            if not isinstance(other, int | Fraction):
                return NotImplemented
            other = Range.of(other)
        return Range(self.low + other.low, self.high + other.high)

    __radd__ = __add__

    def __sub__(self, other: "Range | Number") -> "Range":
        if not isinstance(other, Range):
            if not isinstance(other, int | Fraction):
                return NotImplemented
            other = Range.of(other)
        return Range(self.low - other.high, self.high - other.low)

    def __rsub__(self, other: Number) -> "Range":
        return Range.of(other) - self

    def __mul__(self, other: "Range | Number") -> "Range":
        if isinstance(other, int):
            low, high = self.low * other, self.high * other
            return Range(low, high) if other >= 0 else Range(high, low)
        if not isinstance(other, Range):
            if not isinstance(other, int | Fraction):
                return NotImplemented
            other = Range.of(other)
        a, b, c, d = self.low, self.high, other.low, other.high
        if a >= 0 and c >= 0:
            low, high = a * c, b * d
        else:
            products = (a * c, a * d, b * c, b * d)
            low, high = min(products), max(products)
        return Range(low >> BITS, -(-high >> BITS))

    __rmul__ = __mul__

    def __truediv__(self, other: "Range | Number") -> "Range":
        if not isinstance(other, Range):
            if not isinstance(other, int | Fraction):
                return NotImplemented
            other = Range.of(other)
        low, high = other.low, other.high
        if low <= 0 <= high:
            raise Refused("a division by a range that holds zero")
        a, b = self.low << BITS, self.high << BITS
        if low > 0:
            return Range(a // (high if a >= 0 else low), -(-b // (low if b >= 0 else high)))
        return Range(b // (high if b >= 0 else low), -(-a // (low if a >= 0 else high)))

    def __rtruediv__(self, other: Number) -> "Range":
        return Range.of(other) / self

    def __pow__(self, power: int) -> "Range":
        if power == 0:
            return Range(_UNIT, _UNIT)
        result = self
        for _ in range(power - 1):
            result = result * self
        if power % 2 == 0 and self.low < 0 < self.high:
            result.low = 0
        return result

    def join(self, other: "Range") -> "Range":
        """The narrowest one that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def sign(self) -> int:
        """That of all its numbers; 0 if they have not all the same."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def middle(self) -> "Range":
        """One number in it."""
        at = (self.low + self.high) >> 1
        return Range(at, at)

    @property
    def width(self) -> int:
        """In units of 2^-96."""
        return self.high - self.low

    def halves(self) -> "tuple[Range, Range]":
        """Two that cover it."""
        at = (self.low + self.high) >> 1
        return Range(self.low, at), Range(at, self.high)

    def exp(self) -> "Range":
        """The exponential function, which rises."""
        return Range(_exp(self.low)[0], _exp(self.high)[1])

    def log(self) -> "Range":
        """The natural logarithm, which rises."""
        if self.low <= 0:
            raise Refused("a logarithm of a range that holds zero")
        return Range(_log(self.low)[0], _log(self.high)[1])

    def sin(self) -> "Range":
        """Monotone where the cosine has one sign; elsewhere by |sin x - sin y| <= |x - y|."""
        return self._wave(0)

    def cos(self) -> "Range":
        """Monotone where the sine has one sign; elsewhere by |cos x - cos y| <= |x - y|."""
        return self._wave(1)

    def _wave(self, which: int) -> "Range":
        radius = -(-self.width >> 1) + 1
        at = _sin_cos(self.middle.low)
        if min(abs(at[1 - which][0]), abs(at[1 - which][1])) > radius and at[1 - which][0] * at[1 - which][1] > 0:
            ends = [_sin_cos(end)[which] for end in (self.low, self.high)]
            return Range(min(low for low, _ in ends), max(high for _, high in ends))
        low, high = at[which]
        return Range(max(low - radius, -_UNIT), min(high + radius, _UNIT))


def _outward(low: int, high: int) -> tuple[int, int]:
    """From units within an elementary function to those of a range."""
    return low >> _SPARE, -(-high >> _SPARE)


def _reduced(at: int, bits: int) -> tuple[int, int]:
    """A number divided by a power of two until it is below 2^-bits, in units of 2^-144, and that power.

    The division drops less than one unit.
    """
    power = max(0, abs(at).bit_length() - BITS + bits)
    return (at << _SPARE) >> power, power


@functools.lru_cache(4096)
def _exp(at: int) -> tuple[int, int]:
    """Numbers below and above exp, by its series and repeated squaring.

    With |r| < 2^-8 the terms after the 16th add less than one unit of 2^-144; every term loses less than two to
    rounding, and r itself is right to one.
    """
    if at > 60 * _UNIT:
        raise Refused("an exponential of a number above 60")
    if at < -60 * _UNIT:
        return 0, _exp(-60 * _UNIT)[1]
    r, power = _reduced(at, 8)
    term, total = _ONE, _ONE
    for k in range(1, 17):
        term = term * r // (_ONE * k)
        total += term
    low, high = total - 40, total + 40
    for _ in range(power):
        low, high = low * low // _ONE, -(-high * high // _ONE)
    return _outward(low, high)


@functools.lru_cache(4096)
def _sin_cos(at: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Numbers below and above sin and cos, by their series and repeated doubling of the angle."""
    r, power = _reduced(at, 8)
    square = r * r // _ONE
    sine, cosine, term = r, _ONE, _ONE
    for k in range(1, 10):
        term = -term * square // (_ONE * (2 * k - 1) * (2 * k))
        cosine += term
        sine += term * r // (_ONE * (2 * k + 1))
    s, c, error = sine, cosine, 40
    for _ in range(power):
        # sin 2a = 2 sin a cos a and cos 2a = 1 - 2 sin² a: an error of each at most quadruples, and one is added.
        s, c, error = 2 * s * c // _ONE, _ONE - 2 * s * s // _ONE, 5 * error + 4
    return _outward(s - error, s + error), _outward(c - error, c + error)


@functools.lru_cache(4096)
def _log(at: int) -> tuple[int, int]:
    """Numbers below and above log: a guess y in floating point, and log(1 + e) for e = at exp(-y) - 1, a small one."""
    guess = math.log(at >> max(0, at.bit_length() - 60)) + (max(0, at.bit_length() - 60) - BITS) * math.log(2)
    y = Range.of(Fraction(guess))
    e = (Range(at, at) * (-y).exp() if guess < 0 else Range(at, at) / y.exp()) - 1
    if max(abs(e.low), abs(e.high)) > _UNIT >> 8:
        raise Refused("a logarithm that was not enclosed")
    rest = abs(e.low) ** 3 + abs(e.high) ** 3
    cube = (rest >> 2 * BITS) + 1
    found = y + e - e * e / 2 + Range(-cube, cube)
    return found.low, found.high
