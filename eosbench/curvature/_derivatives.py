"""Derivatives of a loss beyond the second, along directions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.jet import jet
from jaxtyping import Array, Float, PyTree

from eosbench.curvature._loss import Loss
from eosbench.curvature._program import compiled, layout_of


class SelfStabilization(NamedTuple):
    """The two constants of self-stabilization (Damian, Nichani, Lee, ICLR 2023, section 4).

    Attributes:
        alpha: -grad L . grad S, how fast gradient flow sharpens, in units of sharpness per time; scalar.
        beta: |P grad S|^2 with P the projection orthogonal to the top eigenvector, how strongly the sharpness is
            restored; scalar.
        sharpness_gradient: grad S, flat, shape (p,).
    """

    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    sharpness_gradient: Float[Array, " p"]


@compiled
def directional_derivatives(
    loss: Loss, params: PyTree[Array], direction: Float[Array, " p"], order: int = 4
) -> Float[Array, "order+1"]:
    """Value and derivatives of t -> loss(params + t direction) at 0 up to `order`, by Taylor-mode differentiation.

    Raises:
        ValueError: `order` is below 1.
    """
    if order < 1:
        raise ValueError(f"order is {order}: it must be at least 1.")
    leaves, tree = jax.tree.flatten(params)
    along = jax.tree.leaves(layout_of(loss, params).unravel(direction))
    series = [[step, *[jnp.zeros_like(step)] * (order - 1)] for step in along]
    value, derivatives = jet(lambda *leaves: loss(jax.tree.unflatten(tree, leaves)), leaves, series)
    return jnp.stack([value, *derivatives])


@compiled
def sharpness_gradient(loss: Loss, params: PyTree[Array], vector: Float[Array, " p"]) -> Float[Array, " p"]:
    """The gradient of an eigenvalue of the Hessian with unit eigenvector `vector`, flat.

    It is the third derivative of the loss contracted twice with the vector, for the eigenvector's own motion does not
    count in first order. The eigenvalue must be simple: that of a multiple one has no gradient. A derivative of the
    result holds `vector` fixed.
    """
    layout = layout_of(loss, params)
    x, unravel = layout.ravel(params), layout.unravel

    def curvature(x: Float[Array, " p"]) -> Float[Array, ""]:
        slope = lambda x: jax.jvp(lambda x: loss(unravel(x)), (x,), (vector,))[1]  # noqa: E731
        return jax.jvp(slope, (x,), (vector,))[1]

    return jax.grad(curvature)(x)


@compiled
def self_stabilization(loss: Loss, params: PyTree[Array], vector: Float[Array, " p"]) -> SelfStabilization:
    """The constants alpha and beta at a point with unit top eigenvector `vector`, which a derivative holds fixed."""
    gradient = layout_of(loss, params).ravel(jax.grad(loss)(params))
    of_sharpness = sharpness_gradient(loss, params, vector)
    across = of_sharpness - (of_sharpness @ vector) * vector
    return SelfStabilization(-gradient @ of_sharpness, across @ across, of_sharpness)
