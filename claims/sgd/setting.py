"""Mini-batches as linear steps, and the curvatures that their gradients see."""

from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


def batches(n, size):
    """All batches of this size without replacement: a row for each, with weight 1/size at its members."""
    rows = np.zeros((len(list(combinations(range(n), size))), n))
    for row, members in zip(rows, combinations(range(n), size), strict=True):
        row[list(members)] = 1 / size
    return rows


@jax.jit
def sgd_maps(eta, hessians):
    """One step of optax's SGD on each quadratic x'Hx/2, as a matrix, by stepping from the unit vectors."""
    optimizer = optax.sgd(eta)

    def stepped(hessian, x):
        updates, _ = optimizer.update(jax.grad(lambda x: x @ hessian @ x / 2)(x), optimizer.init(x), x)
        return x + updates

    units = jnp.eye(hessians.shape[-1])
    return jax.vmap(lambda hessian: jax.vmap(lambda x: stepped(hessian, x), out_axes=1)(units))(hessians)


class Curvatures(NamedTuple):
    """What mini-batches B of equal weight see at a point, with gradients g_B and Hessians H_B.

    Attributes:
        sharpness: λ_1 of the mean Hessian H.
        quotient: E[g_B'H_B g_B / |g_B|²], the batch sharpness.
        ratio: E[g_B'H_B g_B] / E[|g_B|²].
        interaction: E[g_B'H g_B] / |E g_B|².
        average: E[g_B'H g_B] / E[|g_B|²].
        largest: E[λ_1(H_B)].
    """

    sharpness: jax.Array
    quotient: jax.Array
    ratio: jax.Array
    interaction: jax.Array
    average: jax.Array
    largest: jax.Array


@jax.jit
@jax.vmap
def curvatures(hessians, minima, x):
    """Those of the losses (x - m)'H(x - m)/2, one for each batch, by derivatives of the losses."""

    def loss(x, hessian, minimum):
        return (x - minimum) @ hessian @ (x - minimum) / 2

    g = jax.vmap(jax.grad(loss), (None, 0, 0))(x, hessians, minima)
    h = jax.vmap(jax.hessian(loss), (None, 0, 0))(x, hessians, minima)
    mean = h.mean(0)
    squares, own = (g**2).sum(1), jnp.einsum("ki,kij,kj->k", g, h, g)
    shared = jnp.einsum("ki,ij,kj->k", g, mean, g).mean()
    return Curvatures(
        sharpness=jnp.linalg.eigvalsh(mean)[-1],
        quotient=(own / squares).mean(),
        ratio=own.mean() / squares.mean(),
        interaction=shared / (g.mean(0) ** 2).sum(),
        average=shared / squares.mean(),
        largest=jnp.linalg.eigvalsh(h)[:, -1].mean(),
    )
