"""Derivatives of a loss beyond the second, along directions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.jet import jet
from jaxtyping import Array, Float, PyTree

from eosbench.curvature._loss import Loss, raveled
from eosbench.curvature._program import compiled


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
    x, unravel = raveled(params)
    still = jnp.zeros_like(x)
    series = [direction.astype(x.dtype)] + [still] * (order - 1)
    value, derivatives = jet(lambda x: loss(unravel(x)), (x,), (series,))
    return jnp.stack([value, *derivatives])


@compiled
def sharpness_gradient(loss: Loss, params: PyTree[Array], vector: Float[Array, " p"]) -> Float[Array, " p"]:
    """The gradient of an eigenvalue of the Hessian with unit eigenvector `vector`, flat.

    It is the third derivative of the loss contracted twice with the vector, for the eigenvector's own motion does not
    count in first order. The eigenvalue must be simple: that of a multiple one has no gradient. A derivative of the
    result holds `vector` fixed.
    """
    x, unravel = raveled(params)

    def curvature(x: Float[Array, " p"]) -> Float[Array, ""]:
        slope = lambda x: jax.jvp(lambda x: loss(unravel(x)), (x,), (vector,))[1]  # noqa: E731
        return jax.jvp(slope, (x,), (vector,))[1]

    return jax.grad(curvature)(x)


@compiled
def self_stabilization(loss: Loss, params: PyTree[Array], vector: Float[Array, " p"]) -> SelfStabilization:
    """The constants alpha and beta at a point with unit top eigenvector `vector`, which a derivative holds fixed."""
    gradient = raveled(jax.grad(loss)(params))[0]
    of_sharpness = sharpness_gradient(loss, params, vector)
    across = of_sharpness - (of_sharpness @ vector) * vector
    return SelfStabilization(-gradient @ of_sharpness, across @ across, of_sharpness)
