"""What the lemma bounds, and a loss that stays bounded above its threshold."""

import jax.numpy as jnp


def descent_bound(eta, smoothness, gradient):
    """The right-hand side of the lemma."""
    return -eta / 2 * (2 - eta * smoothness) * (gradient**2).sum(-1)


def hyperbola(x):
    """`√(1 + x²)` in each coordinate: sharpness 1 at the minimum, and less everywhere else."""
    return jnp.sum(jnp.sqrt(1 + x**2))
