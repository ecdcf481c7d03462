"""Stability of steps and of period-two orbits of gradient descent."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from eosbench.curvature._arguments import on_host
from eosbench.curvature._lanczos import dense_limit
from eosbench.curvature._loss import Loss, measurable, raveled
from eosbench.curvature._program import compiled, layout_of
from eosbench.curvature._sharpness import sharpness


@compiled
def stableness(
    loss: Loss,
    params: PyTree[Array],
    eta: float | Float[Array, ""],
    *,
    points: int = 17,
    zooms: int = 6,
    rtol: float = 1e-3,
    key: PRNGKeyArray | None = None,
) -> Float[Array, ""]:
    """S_L(x, eta) = eta times the largest sharpness between x and x - eta grad L(x); a step is stable up to 2.

    The segment is sampled at `points`, and around the sharpest of them again, `zooms` times, each ten times finer:
    near a minimum of the square root of a loss, the sharpness has a peak so narrow that an even grid misses it by
    orders of magnitude (Arora, Li, Panigrahi, ICML 2022, definition 1.1). A local search, so a lower bound.

    Args:
        loss, params: as for `sharpness`.
        eta: step size.
        points, zooms: of the search.
        rtol: of each sharpness.
        key: for the random starts.
    """
    params = measurable(params)
    layout = layout_of(loss, params)
    x, unravel = layout.ravel(params), layout.unravel
    gradient = layout.ravel(jax.grad(loss)(params))
    key = jax.random.key(0) if key is None else key

    def sharpness_at(s: Float[Array, ""]) -> Float[Array, ""]:
        return sharpness(loss, unravel(x - s * eta * gradient), rtol=rtol, key=key, throw=False).values[0]

    def zoom(carry: tuple, _: None) -> tuple[tuple, None]:
        low, high, best = carry
        at = jnp.linspace(low, high, points)
        values = jax.lax.map(sharpness_at, at)
        peak = at[jnp.argmax(values)]
        half = (high - low) / 20
        return (jnp.maximum(peak - half, 0), jnp.minimum(peak + half, 1), jnp.maximum(best, values.max())), None

    edge = jnp.zeros((), x.dtype), jnp.ones((), x.dtype), jnp.asarray(-jnp.inf, x.dtype)
    (_, _, best), _ = jax.lax.scan(zoom, edge, None, length=zooms + 1)
    return eta * best


def floquet_multipliers(
    step: Callable[[PyTree[Array]], PyTree[Array]], point: PyTree[Array], period: int = 2, k: int = 6
) -> np.ndarray:
    """The k multipliers largest in modulus of a periodic orbit of a step map; the orbit is stable if all are below 1.

    They are the eigenvalues of the derivative of `period` steps at a point of the orbit, for gradient descent
    (I - eta H(x_2)) (I - eta H(x_1)), which is not symmetric.

    Args:
        step: the map, such as one step of gradient descent; pytree to pytree of the same shape.
        point: on the orbit.
        period: of the orbit.
        k: how many; up to some 256 parameters the matrix is formed, beyond that ARPACK iterates.

    Returns:
        Complex multipliers by descending modulus, shape (min(k, p),).

    Raises:
        TypeError, ValueError: a point that has no answer, or one that is traced, named in one sentence.
    """
    point = measurable(point)
    x, unravel = raveled(point)

    def orbit(x: Float[Array, " p"]) -> Float[Array, " p"]:
        point = unravel(x)
        for _ in range(period):
            point = step(point)
        return raveled(point)[0]

    if x.size <= dense_limit(k):
        multipliers = np.linalg.eigvals(on_host("floquet_multipliers", jax.jit(jax.jacfwd(orbit))(x)))
    else:
        push = jax.jit(lambda v: jax.jvp(orbit, (x,), (v,))[1])
        operator = scipy.sparse.linalg.LinearOperator(
            (x.size, x.size),
            matvec=lambda v: on_host("floquet_multipliers", push(jnp.asarray(v.ravel(), x.dtype))),
            dtype=x.dtype,
        )
        start = np.random.default_rng(0).standard_normal(x.size).astype(x.dtype)
        multipliers = scipy.sparse.linalg.eigs(operator, k=k, which="LM", v0=start, return_eigenvectors=False)
    return multipliers[np.argsort(-np.abs(multipliers))][:k].astype(complex)
