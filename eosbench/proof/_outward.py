"""Boxes in float64 arithmetic, vectorized over them, every operation rounded outward by one unit in the last place."""

from fractions import Fraction

import numpy as np
from jaxtyping import Float

Bounds = tuple[Float[np.ndarray, "boxes"], Float[np.ndarray, "boxes"]]


def out(low: np.ndarray, high: np.ndarray) -> Bounds:
    """Ends moved outward by a unit in the last place."""
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


def add(a: Bounds, b: Bounds) -> Bounds:
    """Sums."""
    return out(a[0] + b[0], a[1] + b[1])


def minus(a: Bounds, b: Bounds) -> Bounds:
    """Differences."""
    return out(a[0] - b[1], a[1] - b[0])


def times(a: Bounds, b: Bounds) -> Bounds:
    """Products."""
    products = [a[i] * b[j] for i in (0, 1) for j in (0, 1)]
    return out(np.minimum.reduce(products), np.maximum.reduce(products))


def square(a: Bounds) -> Bounds:
    """Squares, none of them negative."""
    low, high = np.abs(a[0]), np.abs(a[1])
    smallest = np.where((a[0] <= 0) & (a[1] >= 0), 0.0, np.minimum(low, high))
    inner, outer = smallest * smallest, np.maximum(low, high) ** 2
    return np.maximum(np.nextafter(inner, -np.inf), 0.0), np.nextafter(outer, np.inf)


def number(low: Fraction, high: Fraction, like: Bounds) -> Bounds:
    """All numbers between two rational ones, for as many boxes."""
    ends = _below(low), -_below(-high)
    return np.full_like(like[0], ends[0]), np.full_like(like[0], ends[1])


def _below(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -np.inf))
