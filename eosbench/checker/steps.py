"""What every checker needs: a certificate's entries, each read once, and a count of the steps that were checked.

Whatever is wrong with a certificate is told by `Refused`, one sentence that names the box, the bound or the step.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any


class Refused(Exception):  # noqa: N818 - an answer, no error of the checker
    """The certificate does not prove what it states. The message is one sentence with the reason."""


class Steps:
    """The steps of a proof: the first that does not hold refuses it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def hold(self, condition: bool, reason: str) -> None:
        """Count a step of the argument that was computed.

        Raises:
            Refused: it does not hold.
        """
        if not condition:
            raise Refused(reason)
        self.count("steps")

    def count(self, what: str, number: int = 1) -> None:
        """Count what was read or checked."""
        self.counts[what] = self.counts.get(what, 0) + number


class Fields:
    """The entries of an object of a certificate; one that nothing reads is refused, and so is one that is missing."""

    def __init__(self, found: Any, where: str) -> None:
        if not isinstance(found, Mapping):
            raise Refused(f"{where} is no object")
        self._left, self.where = dict(found), where

    def take(self, name: str) -> Any:
        """The value of an entry."""
        if name not in self._left:
            raise Refused(f"{self.where} lacks {name!r}")
        return self._left.pop(name)

    def text(self, name: str) -> str:
        """The value of an entry that is a text."""
        value = self.take(name)
        if not isinstance(value, str):
            raise Refused(f"{name!r} of {self.where} is no text")
        return value

    def fraction(self, name: str) -> Fraction:
        """The value of an entry that is a rational number, written as a text."""
        return fraction(self.take(name), f"{name!r} of {self.where}")

    def interval(self, name: str) -> tuple[Fraction, Fraction]:
        """The value of an entry that is an interval with both ends."""
        return _ends(self.points(name), f"{name!r} of {self.where}")

    def intervals(self, name: str, number: int) -> list[tuple[Fraction, Fraction]]:
        """The value of an entry that is a list of so many intervals."""
        return [_ends(part, f"{name!r} of {self.where}") for part in self.parts(name, number)]

    def points(self, name: str) -> list[Fraction]:
        """The value of an entry that is a list of two or more rising numbers, or of one number twice."""
        return _rising(self.list(name), f"{name!r} of {self.where}")

    def parts(self, name: str, number: int) -> list[list[Fraction]]:
        """The value of an entry that is a list of so many lists of rising numbers."""
        found = self.list(name)
        if len(found) != number:
            raise Refused(f"{name!r} of {self.where} has {len(found)} parts in place of {number}")
        return [_rising(part, f"{name!r} of {self.where}") for part in found]

    def list(self, name: str) -> Sequence[Any]:
        """The value of an entry that is a list."""
        value = self.take(name)
        if not isinstance(value, list | tuple):
            raise Refused(f"{name!r} of {self.where} is no list")
        return value

    def close(self) -> None:
        """Nothing else is there.

        Raises:
            Refused: an entry was not read.
        """
        if self._left:
            raise Refused(f"{self.where} has the entry {next(iter(self._left))!r}, which nothing reads")


def fraction(value: Any, what: str) -> Fraction:
    """A rational number that is written as a text, such as "1121/1000" or "1.121"."""
    try:
        return Fraction(value) if isinstance(value, str) else _no_number(what)
    except (ValueError, ZeroDivisionError):
        return _no_number(what)


def _ends(found: list[Fraction], what: str) -> tuple[Fraction, Fraction]:
    if len(found) != 2:
        raise Refused(f"{what} is no interval [low, high]")
    return found[0], found[1]


def _rising(found: Any, what: str) -> list[Fraction]:
    if not isinstance(found, list | tuple):
        raise Refused(f"{what} is no list of numbers")
    value = [fraction(entry, what) for entry in found]
    rising = all(a < b for a, b in pairwise(value)) or (len(value) == 2 and value[0] == value[1])
    if len(value) < 2 or not rising:
        raise Refused(f"{what} does not rise")
    return value


def _no_number(what: str) -> Fraction:
    raise Refused(f"{what} is no rational number written as a text")


def cells(points: Sequence[Fraction], low: Fraction, high: Fraction, what: str) -> Iterator[tuple[Fraction, Fraction]]:
    """The cells between breakpoints that are to cover an interval."""
    if not points or (points[0], points[-1]) != (low, high):
        raise Refused(f"{what} do not cover [{float(low):g}, {float(high):g}]")
    return pairwise(points) if len(points) > 1 else iter([(low, high)])
