"""Period-2 orbits of gradient descent on a scalar loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.optimize import brentq

from eosbench.curvature._program import compiled, read_loss

ScalarLoss = Callable[[Float[Array, "..."]], Float[Array, ""]]
"""A loss of one variable, written as the sum over its argument's entries."""

# Of the points tried from the minimizer; nearer to it rounding decides the sign.
_OFFSETS = np.geomspace(1e-4, 1e3, 4001)


def two_cycle(loss: ScalarLoss, eta: float, minimizer: float = 1.0) -> Float[np.ndarray, "2"]:
    """The two points, in ascending order, between which gradient descent with step size `eta` alternates.

    They lie on either side of `minimizer`. With `F(x) = x - eta f'(x)` a point of period two or one solves `f'(x) +
    f'(F(x)) = 0`. Dividing by `x - minimizer` removes the fixed point; the root nearest to the minimizer, before the
    next critical point on its left, is refined by Brent's method in float64. The orbit need not be stable: see
    `cycle_multiplier`.

    Raises:
        ValueError: there is no such orbit, or only one within 1e-4 of the minimizer; near a nondegenerate minimizer
            with 3 f'''² > f'' f'''' that is eta <= 2/f''.
    """

    def deflated(x: Float[np.ndarray, "..."], loss: ScalarLoss = loss) -> Float[np.ndarray, "..."]:
        slope = _slope(loss, x)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # far from the minimizer a step may leave the range of floats
            return (slope + _slope(loss, x - eta * slope)) / (x - minimizer)

    left = minimizer - _OFFSETS
    basin = np.logical_and.accumulate(_slope(loss, left) < 0)
    values = deflated(left)
    crossings = np.flatnonzero(basin[1:] & (np.sign(values[1:]) != np.sign(values[:-1])) & np.isfinite(values[1:]))
    if not crossings.size:
        threshold = 2 / float(_curvature(loss, np.asarray(minimizer, float)))
        raise ValueError(
            f"gradient descent at eta = {eta:g} has no period-2 orbit around {minimizer:g}, "
            f"where 2/f'' is {threshold:g}"
        )
    first = crossings[0]
    at_one = read_loss(loss, jnp.zeros(()))  # once, not at every point that Brent's method tries
    root_at = lambda x: float(deflated(np.asarray(x), at_one))  # noqa: E731
    lower = brentq(root_at, left[first + 1], left[first], xtol=1e-15, rtol=1e-15)
    return np.array([lower, lower - eta * float(_slope(loss, np.asarray(lower)))])


def cycle_multiplier(loss: ScalarLoss, eta: float, cycle: Float[ArrayLike, "k"]) -> float:
    """`F'(d_1) ... F'(d_k)`: the factor by which k steps stretch a small distance from the cycle.

    The cycle attracts where it is below 1 in magnitude, and repels where it is above.
    """
    return float(np.prod(1 - eta * _curvature(loss, np.asarray(cycle, float))))


def scalar_derivatives(
    function: Callable[[Float[Array, ""]], Float[Array, ""]], x: Float[ArrayLike, ""], order: int = 4
) -> Float[np.ndarray, "order"]:
    """The derivatives of a function of one variable at x, of order 1 to `order`."""
    functions = [function]
    for _ in range(order):
        functions.append(jax.grad(functions[-1]))
    # One program: operation by operation most of the time would go into compiling them one by one.
    return np.asarray(jax.jit(lambda x: jnp.stack([of(x) for of in functions[1:]]))(jnp.asarray(x, float)))


def amplitude_law(derivatives: Float[ArrayLike, "4"]) -> float:
    """c in `eta - 2/f'' = c z² + O(z³)`, where z is the distance of a period-2 point from the minimizer.

    `c = (3 f'''² - f'' f'''')/(3 f''³)`, from the derivatives of order 1 to 4 at the minimizer: the leading term of
    `F(F(x)) = x`. An orbit branches off beyond the edge where c is positive, as Chen and Bruna ask.
    """
    _, f2, f3, f4 = np.asarray(derivatives, float)
    return float((3 * f3**2 - f2 * f4) / (3 * f2**3))


def _slope(loss: ScalarLoss, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(_gradient(loss, jnp.asarray(x)))


def _curvature(loss: ScalarLoss, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(_second_derivative(loss, jnp.asarray(x)))


@compiled
def _gradient(loss: ScalarLoss, x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.grad(loss)(x)


@compiled
def _second_derivative(loss: ScalarLoss, x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.jvp(jax.grad(loss), (x,), (jnp.ones_like(x),))[1]
