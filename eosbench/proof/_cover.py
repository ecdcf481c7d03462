"""Certificates that cover a range of step sizes with boxes, each proved on its own."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from eosbench.proof._intervals import Interval, as_float, middle, tiles

Part = tuple[Fraction, ...]
"""Breakpoints of cells that cover an interval."""


@dataclass(frozen=True)
class Box:
    """What was proved for the step sizes `eta`, on the cells of some parts of the line."""

    eta: Interval
    cells: tuple[Part, ...]


B = TypeVar("B", bound=Box)


@dataclass(frozen=True)
class CoverCertificate(Generic[B]):
    """Boxes that cover the step sizes `eta`. `failed` is the rest of the range, from where a box was not proved."""

    family: str
    eta: Interval
    boxes: tuple[B, ...]
    failed: tuple[Interval, ...]
    seconds: float

    @property
    def verified(self) -> bool:
        """Whether the boxes cover the range without a gap."""
        return not self.failed and tiles([box.eta for box in self.boxes], *self.eta)

    def describe(self) -> dict[str, float | int | str]:
        """Range, boxes, cells and seconds."""
        low, high = as_float(self.eta)
        return {
            "family": self.family,
            "eta from": low,
            "eta to": high,
            "boxes": len(self.boxes),
            "unproved": sum(float(b - a) for a, b in self.failed),
            "cells": sum(len(part) - 1 for box in self.boxes for part in box.cells),
            "seconds": round(self.seconds, 2),
        }


def bisect(
    prove: Callable[[Fraction, Fraction], B | None], low: Fraction, high: Fraction, depth: int
) -> tuple[tuple[B, ...], tuple[Interval, ...]]:
    """What `prove` returns on the boxes of an adaptive subdivision, in ascending order, and what is left unproved.

    It gives up at the first box of full depth for which `prove` returns None.
    """
    done: list[B] = []
    stack = [(low, high, depth)]
    while stack:
        a, b, left = stack.pop()
        box = prove(a, b)
        if box is not None:
            done.append(box)
        elif left == 0:
            return tuple(done), ((a, high),)
        else:
            at = middle(a, b)
            stack += [(at, b, left - 1), (a, at, left - 1)]
    return tuple(done), ()
