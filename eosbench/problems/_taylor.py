"""Taylor polynomials of a loss, as losses of their own."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from eosbench.curvature._derivatives import directional_derivatives
from eosbench.curvature._loss import Loss


class TaylorLoss(eqx.Module):
    """The Taylor polynomial of a loss about a point, for flat parameters.

    Gradient descent on the polynomial of order k + 1 is gradient descent with the gradient's polynomial of order k.
    """

    loss: Loss
    about: Float[Array, "p"]
    order: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "p"]) -> Float[Array, ""]:
        derivatives = directional_derivatives(self.loss, self.about, x - self.about, order=self.order)
        return derivatives @ jnp.array([1 / math.factorial(k) for k in range(self.order + 1)], x.dtype)
