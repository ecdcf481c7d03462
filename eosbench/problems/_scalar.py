"""Losses of one and of two scalar variables whose period-2 orbits are known (Chen and Bruna 2023).

Each is written as a sum over independent copies of itself, so that an array of starts is a grid of separate problems.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float
from scipy.optimize import brentq


def quartic(x: Float[Array, "..."]) -> Float[Array, ""]:
    """`¼ (x² - 1)²` summed over the entries of x: minimizers ±1 with f'' = 2, so the edge is at eta = 1."""
    return jnp.sum((x**2 - 1) ** 2) / 4


def quartic_step_size(delta: Float[ArrayLike, "..."]) -> Float[np.ndarray, "..."]:
    """The step size at which `delta` is on the positive period-2 orbit of the quartic, as printed in the poster (II).

    Defined for `0 < delta <= 2/√3`, where it covers the lower point of every orbit and the upper one up to a step
    size of 3/2.
    """
    delta = np.asarray(delta, float)
    return 1 / (delta**2 * (np.sqrt(1 / delta**2 - 3 / 4) + 1 / 2))


def quartic_orbit(eta: float) -> Float[np.ndarray, "2"]:
    """`delta_1 < 1 < delta_2`, the positive solutions of `quartic_step_size(delta) = eta`.

    Raises:
        ValueError: not 1 < eta < 3/2; only there has the printed equation two solutions.
    """
    if not 1 < eta < 1.5:
        raise ValueError(
            f"eta is {eta:g}: it must be between 1 and 3/2, where the printed equation has two positive solutions."
        )

    def excess(delta: float) -> float:
        return float(quartic_step_size(delta)) - eta

    # The printed step size is above 3 eta at 1/(4 eta), falls to 1 at 1 and rises to 3/2 at 2/√3.
    bracket = [(1 / (4 * eta), 1.0), (1.0, np.nextafter(2 / np.sqrt(3), 0.0))]
    return np.array([brentq(excess, a, b, xtol=1e-15, rtol=1e-15) for a, b in bracket])


def scalar_factorization(factors: Float[Array, "2 ..."]) -> Float[Array, ""]:
    """`½ (x y - 1)²` summed over the columns of `factors = (x, y)`.

    Minimizers x y = 1, of sharpness x² + y²; the flattest are ±(1, 1), so the edge is again at eta = 1.
    """
    x, y = factors
    return jnp.sum((x * y - 1) ** 2) / 2


def factorization_starts(side: int) -> Float[np.ndarray, "2 starts"]:
    """Positive starts for the scalar factorization: a grid of `side` by `side` points over [0.03, 2.97]².

    Those with `|x y - 1| <= 1e-3` are left out: near its minimizers gradient descent hardly moves.
    """
    axis = np.linspace(0.03, 2.97, side)
    starts = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    return starts[:, np.abs(starts.prod(0) - 1) > 1e-3]


def both_positive(factors: Float[Array, "2 ..."]) -> Bool[Array, "..."]:
    """Whether x > 0 and y > 0, for each column of `factors = (x, y)`."""
    return jnp.all(factors > 0, axis=0)


class SquaredError(eqx.Module):
    """`(g(x) - g(m))²` summed over the entries of x: the squared loss of a base model g with the minimizer m.

    Its edge is at `2/f''(m) = 1/g'(m)²`.
    """

    model: Callable[[Float[Array, "..."]], Float[Array, "..."]] = eqx.field(static=True)
    minimizer: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, ""]:
        return jnp.sum((self.model(x) - self.model(self.minimizer)) ** 2)
