"""The predicted edge-of-stability dynamics of Damian, Nichani and Lee (2023), in the form of Shapira's Definition 4.1.

A state is `(x, y)`: x is the displacement along the top eigenvector u of the Hessian at a point of sharpness 2/eta,
y the change of the sharpness. Steps go through `iterate` and `trajectory`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from eosbench.curvature._derivatives import self_stabilization
from eosbench.curvature._program import compiled
from eosbench.curvature._sharpness import sharpness
from eosbench.dynamics._maps import Loss, Step

_RTOL = 1e-11  # of the top eigenvalue; the vector's error is its square root times what the next eigenvalue leaves


class EdgePoint(NamedTuple):
    """A point θ at the edge of stability, and the constants of the predicted dynamics about it.

    Attributes:
        point: θ, shape (p,), with ∇L(θ)·u = 0 (Assumption 3).
        eta: the step size 2/S(θ), for which θ is exactly at the edge.
        vector: u, the top eigenvector, shape (p,).
        across: P ∇S, the sharpness gradient projected orthogonally to u, shape (p,).
        gradient: ∇L(θ), shape (p,).
        alpha: -∇L·∇S.
        beta: ‖P ∇S‖².
        residual: ∇L(θ)·u as it is left over.
    """

    point: Float[Array, "p"]
    eta: Float[Array, ""]
    vector: Float[Array, "p"]
    across: Float[Array, "p"]
    gradient: Float[Array, "p"]
    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    residual: Float[Array, ""]

    def coordinates(self, iterates: Float[Array, "... p"]) -> Float[Array, "... 2"]:
        """The states (x, y) of iterates: `x = u·(θ_t - θ)` and `y = P ∇S·(θ_t - θ)`."""
        return (iterates - self.point) @ jnp.stack([self.vector, self.across], axis=-1)


@compiled
def edge_point(loss: Loss, x: Float[Array, "p"], *, corrections: int = 6) -> EdgePoint:
    """The point near x at which the gradient has no component along the top eigenvector, with eta = 2/S there.

    Each correction is a Newton step along the top eigenvector. The top eigenvalue must be simple; use float64.
    """

    def correct(carry: tuple, _: None) -> tuple[tuple, None]:
        _, x, _, _ = carry
        spectrum = sharpness(loss, x, rtol=_RTOL, max_hvps=5000, throw=False)
        largest, u = spectrum.values[0], spectrum.vectors[0]
        return (x, x - (jax.grad(loss)(x) @ u) / largest * u, largest, u), None

    start = (x, x, jnp.zeros((), x.dtype), jnp.zeros_like(x))
    (point, _, largest, u), _ = jax.lax.scan(correct, start, None, length=corrections + 1)
    constants = self_stabilization(loss, point, u)
    slope = constants.sharpness_gradient
    gradient = jax.grad(loss)(point)
    across = slope - (slope @ u) * u
    return EdgePoint(point, 2 / largest, u, across, gradient, constants.alpha, constants.beta, gradient @ u)


def predicted_step(eta: Float[ArrayLike, ""], alpha: Float[ArrayLike, ""], beta: Float[ArrayLike, ""]) -> Step:
    """The map `(x, y) -> (-(1 + eta y) x, y + eta (alpha - beta x²/2))`.

    Args:
        eta: step size.
        alpha: -∇L·∇S, how fast gradient flow sharpens.
        beta: ‖P ∇S‖², P projecting orthogonally to u: how strongly a large x² flattens.
    """
    return eqx.Partial(_predicted, *(jnp.asarray(number, float) for number in (eta, alpha, beta)))


def potential(
    states: Float[ArrayLike, "... 2"], alpha: Float[ArrayLike, ""], beta: Float[ArrayLike, ""]
) -> Float[Array, "..."]:
    """`H = y²/alpha + z - ln z - 1` with `z = beta x²/(2 alpha)`, for alpha, beta > 0 and x ≠ 0.

    It vanishes at the fixed points of the squared dynamics, `y = 0` and `|x| = √(2 alpha/beta)`, and is positive
    elsewhere. The limit of the dynamics in continuous time (eta √alpha -> 0) conserves it.
    """
    x, y = jnp.moveaxis(jnp.asarray(states), -1, 0)
    z = beta * x**2 / (2 * alpha)
    return y**2 / alpha + z - jnp.log(z) - 1


def potential_drift(
    states: Float[ArrayLike, "... 2"],
    eta: Float[ArrayLike, ""],
    alpha: Float[ArrayLike, ""],
    beta: Float[ArrayLike, ""],
) -> Float[Array, "..."]:
    """By how much one `predicted_step` raises `potential`, exactly: `eta² alpha (1-z)² + z w² + 2 (w - ln(1+w))`.

    Here w = eta y. The drift is never negative where 1 + w > 0, and zero only at the fixed points: every term is a
    square or w - ln(1 + w). So the cycle widens with every turn.
    """
    x, y = jnp.moveaxis(jnp.asarray(states), -1, 0)
    z, w = beta * x**2 / (2 * alpha), eta * y
    return eta**2 * alpha * (1 - z) ** 2 + z * w**2 + 2 * (w - jnp.log1p(w))


def _predicted(
    eta: Float[Array, ""], alpha: Float[Array, ""], beta: Float[Array, ""], state: Float[Array, "2"]
) -> Float[Array, "2"]:
    x, y = state
    return jnp.stack([-(1 + eta * y) * x, y + eta * (alpha - beta * x**2 / 2)])
