"""Stableness: how far a step is from what the descent lemma allows (Arora et al. 2022, definition 1.1)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from eosbench.dynamics.flows import top_eigenvalue
from eosbench.dynamics.maps import Loss


@eqx.filter_jit
def stableness(loss: Loss, x: Float[Array, "p"], eta: Float[ArrayLike, ""], points: int = 129) -> Float[Array, ""]:
    """``S_L(x, eta) = eta sup λ_1(∇²L)`` over the segment from x to ``x - eta ∇L(x)``; a step is stable up to 2.

    The supremum is taken over `points` equidistant points with dense Hessians, so it is a lower bound, exact to second
    order in their spacing for a smooth loss; with ``points=1`` it is the sharpness at x alone, times eta.
    """
    eta = jnp.asarray(eta)
    step = -eta * jax.grad(loss)(x)
    segment = x + jnp.linspace(0, 1, points)[:, None] * step
    return eta * jnp.max(jax.vmap(lambda y: top_eigenvalue(loss, y))(segment))
