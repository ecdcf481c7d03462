"""Losses made up for provers that leave out a step, and what the checker says of a certificate."""

import copy
from fractions import Fraction

from flint import fmpq

from eosbench.checker import check
from eosbench.proof._families import taylor_descent
from eosbench.proof._two_cycle import Descent

F = Fraction


def times(*factors):
    """The product of polynomials, as lists of coefficients from the constant one on."""
    product = [F(1)]
    for factor in factors:
        longer = [F(0)] * (len(product) + len(factor) - 1)
        for i, a in enumerate(product):
            for j, b in enumerate(factor):
                longer[i + j] += a * b
        product = longer
    return product


def root(at):
    """x - at."""
    return [-F(at), F(1)]


def polynomial_descent(slope, minimizer, search, critical=()):
    """The loss whose derivative has these coefficients."""
    terms = [f"({a})/{k}*x**{k}" for k, a in enumerate(slope, start=1) if a]

    def formula(x):
        total = x * 0
        for a in reversed(slope):
            total = total * x + fmpq(a.numerator, a.denominator)
        return total

    return Descent("planted", " + ".join(terms), formula, F(minimizer), search, tuple(map(F, critical)))


def odd_slope(*coefficients, within, critical=()):
    """The loss with f'(z) the sum of coefficients[k] z^(2k + 1), and orbits counted up to `within` from 0."""
    slope = [F(0)] * (2 * len(coefficients))
    slope[1::2] = map(F, coefficients)
    return polynomial_descent(slope, 0, (-within, within), critical)


def asked(data, **theorem):
    """What the checker says of a certificate, asked for the theorem that it states or for another."""
    return check(data, {"kind": data["kind"], **data["theorem"], **theorem})


def changed(data, path, value):
    """The certificate with one entry changed; None for the value takes it out."""
    data = copy.deepcopy(data)
    *outer, last = path
    at = data
    for key in outer:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return data


def described(derivatives):
    """`taylor_descent` from numbers of any kind."""
    return taylor_descent(tuple(map(F, derivatives)))
