"""Losses of a product xy, the law for the end of the edge, and gradient descent on the two factors."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from eosbench.dynamics import amplitude_law, scalar_derivatives


class Loss(NamedTuple):
    """A loss of one number, with its minimizer."""

    of: Callable
    minimizer: float


def log_cosh(z):
    return jnp.log(jnp.cosh(z))


def hyperbola(z):
    return jnp.sqrt(1 + z**2)


def two_squares(z):
    """Half of ½ (1 - xyzw)² with x = z and y = w, in the product xy: two of the factors share the gradient of four."""
    return (1 - z**2) ** 2 / 4


def cross_entropy(p, z):
    """Of one sample of logit z whose label is 1 with probability p."""
    return jnp.logaddexp(0.0, z) - p * z


def soft_label(p):
    """One program for every p, which is an argument of what is compiled."""
    return Loss(Partial(cross_entropy, np.asarray(p)), float(np.log(p / (1 - p))))


LOSSES = {
    "log cosh z": Loss(log_cosh, 0.0),
    "sqrt(1 + z²)": Loss(hyperbola, 0.0),
    "(1 - z²)²/4": Loss(two_squares, 1.0),
    "p = 1/2": soft_label(0.5),
    "p = 0.8": soft_label(0.8),
    "p = 0.95": soft_label(0.95),
}


class Law(NamedTuple):
    """What the derivatives at the minimizer say.

    Attributes:
        f2: the second one.
        C: (3 f3² - f2 f4)/(3 f2²), where the square of the oscillation saturates, for an excess of 1.
        K: f2²/C, by which the sharpness ends below 2/eta, for a step size of 1.
    """

    f2: float
    C: float
    K: float


@cache
def _derivatives(loss):
    return scalar_derivatives(loss.of, loss.minimizer)


def law(loss, times=1.0):
    """That of a loss; `times` is put before f2 f4 in C, where 1 is right."""
    derivatives = _derivatives(loss)
    f2 = derivatives[1]
    C = amplitude_law(derivatives * np.array([1, 1, 1, times])) * f2
    return Law(f2, C, f2**2 / C if C else np.inf)


def balance(eta, excess, f2, minimizer):
    """The x² - y² for which eta times the sharpness of the minimum exceeds 2 by this."""
    return np.sqrt(((2 + excess) / (eta * f2)) ** 2 - 4 * minimizer**2)


def excess(eta, factors, f2, minimizer):
    """Eta times the sharpness, less 2, of the minimum that has the x² - y² of these factors."""
    x, y = np.asarray(factors).T
    return eta * f2 * np.sqrt((x**2 - y**2) ** 2 + 4 * minimizer**2) - 2


def factors_of(z, balance):
    """x and y of this product and this x² - y² > 0."""
    x = np.sqrt((np.sqrt(balance**2 + 4 * z**2) + balance) / 2)
    return np.stack([x, z / x], -1)


@eqx.filter_jit
def descend(loss, factors, eta, every, records=1):
    """Factors and those one step later, after each `every` steps of gradient descent, `records` times, for each run."""

    def run(factors, eta, every):
        def step(w):
            return w - eta * jax.grad(lambda w: loss(w[0] * w[1]))(w)

        def record(w, _):
            w = jax.lax.fori_loop(0, every, lambda _, w: step(w), w)
            return w, jnp.stack([w, step(w)])

        return jax.lax.scan(record, factors, length=records)[1]

    return jax.vmap(run)(factors, eta, every)


@eqx.filter_jit
def sharpness(loss, factors):
    """The largest eigenvalue of the Hessian in all factors, at each of these points."""
    return jax.vmap(lambda w: jnp.linalg.eigvalsh(jax.hessian(lambda w: loss(jnp.prod(w)))(w))[-1])(factors)


class Ends(NamedTuple):
    """Where runs end, one for each theta = eta² f2²/C.

    Attributes:
        off: |z - z*| at the end.
        below: (2 - eta S)/eta² at the end, with the sharpness S of l(xy) there.
    """

    off: np.ndarray
    below: np.ndarray


def ends(loss, thetas, C, above=20.0, share=1.0):
    """Runs that begin with an excess of `above` times theta, and with this share of the w of the slow curve.

    On the way what is off that curve shrinks by exp(-above); then the oscillation decays at the rate theta, and
    30/theta steps leave exp(-30) of it.
    """
    f2, thetas = law(loss).f2, np.asarray(thetas)
    eta = np.sqrt(thetas * C) / f2
    z = loss.minimizer + np.sqrt(share * np.abs(1 + above) * thetas / C)
    start = factors_of(z, balance(eta, above * thetas, f2, loss.minimizer))
    found = np.asarray(descend(loss.of, start, eta, np.ceil(30 / thetas).astype(int)))[:, -1, 0]
    top = np.asarray(sharpness(loss.of, found))
    return Ends(np.abs(found.prod(-1) - loss.minimizer), (2 - eta * top) / eta**2)


def extrapolated(coarse, fine):
    """To theta = 0, of values at theta and theta/2 that are off by O(theta)."""
    return 2 * fine - coarse
