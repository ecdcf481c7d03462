"""Gradient descent F(x) = x - eta f'(x) on a loss of one variable, and H(x) = f'(x) + f'(F(x)), in ranges.

F(F(x)) - x = -eta H(x): the points of period two are the zeros of H at which f' does not vanish. All is enclosed by the
mean value theorem about the middle of a cell of x and eta; where that settles no sign, the cell is halved.
"""

from collections.abc import Callable
from fractions import Fraction

from eosbench.checker.formulas import is_square_that_vanishes, parse
from eosbench.checker.jets import derivatives
from eosbench.checker.ranges import Range
from eosbench.checker.steps import Refused

_DEPTH = 9  # how often a cell is halved

Parts = tuple[Range, Range, Range, Range, Range]


class Descent:
    """A loss, by its formula in x."""

    def __init__(self, formula: str) -> None:
        self._tree = parse(formula)
        self._of = {order: derivatives(self._tree, order) for order in (1, 2, 3)}

    def slopes(self, x: Range, order: int = 3) -> list[Range]:
        """f', f'' and f''', or as many of them."""
        return self._of[order](x)[1:]

    def is_critical(self, point: Fraction) -> bool:
        """Whether f' vanishes there, exactly: in rational numbers, or because f is a square that vanishes."""
        if is_square_that_vanishes(self._tree, str(point)):
            return True
        try:
            return bool(derivatives(self._tree, 1)(point)[1] == 0)
        except Refused:
            return False

    def curvature(self, x: Range) -> Range:
        """f'', about the middle."""
        return self.slopes(x.middle, 2)[1] + self.slopes(x)[2] * (x - x.middle)

    def stretch(self, x: Range, eta: Range) -> Range:
        """F'."""
        return 1 - eta * self.curvature(x)

    def step(self, x: Range, eta: Range) -> Range:
        """F."""
        return self._image(x, eta, self.slopes(x.middle, 1), self.slopes(x, 2))

    def _image(self, x: Range, eta: Range, at: list[Range], on: list[Range]) -> Range:
        middle = x.middle - eta.middle * at[0]
        return middle + (1 - eta * on[1]) * (x - x.middle) - on[0] * (eta - eta.middle)

    def _cell(self, x: Range, eta: Range) -> tuple[Parts, Parts]:
        """H, H', H'' and the derivatives of H and H' in eta, at the middle of the cell and on the whole of it."""
        at, on = self.slopes(x.middle), self.slopes(x)
        middle, image = x.middle - eta.middle * at[0], self._image(x, eta, at, on)
        return _parts(at, self.slopes(middle), eta.middle), _parts(on, self.slopes(image), eta)

    def value(self, x: Range, eta: Range) -> Range:
        """H."""
        at, on = self.slopes(x.middle, 1), self.slopes(x, 2)
        after = self.slopes(self._image(x, eta, at, on), 2)[1]
        value = at[0] + self.slopes(x.middle - eta.middle * at[0], 1)[0]
        first, by_eta = on[1] + after * (1 - eta * on[1]), -after * on[0]
        return value + first * (x - x.middle) + by_eta * (eta - eta.middle)

    def derivative(self, x: Range, eta: Range) -> Range:
        """H'."""
        (_, first, *_), (_, _, second, _, first_by_eta) = self._cell(x, eta)
        return first + second * (x - x.middle) + first_by_eta * (eta - eta.middle)

    def bend(self, x: Range, eta: Range, m: Fraction) -> Range:
        """(x - m) H' - H, which has the sign of the derivative of H/(x - m)."""
        (value, first, *_), (_, _, second, by_eta, first_by_eta) = self._cell(x, eta)
        z = x - m
        change = z * second * (x - x.middle) + (z * first_by_eta - by_eta) * (eta - eta.middle)
        return (x.middle - m) * first - value + change


def _parts(slopes: list[Range], after: list[Range], eta: Range) -> Parts:
    """From f', f'' and f''' at x and at F(x)."""
    (f1, f2, f3), (h1, h2, h3) = slopes, after
    stretch = 1 - eta * f2
    first, second = f2 + h2 * stretch, f3 + h3 * stretch**2 - eta * h2 * f3
    return f1 + h1, first, second, -h2 * f1, -h3 * f1 * stretch - h2 * f2


def sign(of: Callable[[Range, Range], Range], x: Range, eta: Range, depth: int = _DEPTH) -> int:
    """The one sign of a function on a cell, halved where needed; 0 if it has not one, or that was not settled."""
    found = _sign(of, x, eta)
    if found or not depth:
        return found
    first, second = ((half, eta) for half in x.halves()) if x.width > 1 else ((x, half) for half in eta.halves())
    left = sign(of, *first, depth - 1)
    return left if left and sign(of, *second, depth - 1) == left else 0


def _sign(of: Callable[[Range, Range], Range], x: Range, eta: Range) -> int:
    try:
        return of(x, eta).sign
    except Refused:  # a function that is not defined on the whole of a wide cell
        return 0
