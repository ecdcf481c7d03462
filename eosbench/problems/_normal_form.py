"""The simplest loss on which gradient descent stabilizes itself."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class SelfStabilizingLoss(eqx.Module):
    """`½ (2/eta + √beta q) x² - (alpha/√beta) q + quartic (x⁴ + q⁴)/24` at the point (x, q).

    Without the quartic term, gradient descent with this step size is the predicted dynamics of Shapira's Definition 4.1
    in (x, y), y = √beta q, exactly: the sharpness across is 2/eta + y.
    """

    eta: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    alpha: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    beta: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    quartic: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        x, q = point
        root = jnp.sqrt(self.beta)
        bowl = (2 / self.eta + root * q) * x**2 / 2
        return bowl - self.alpha / root * q + self.quartic * (x**4 + q**4) / 24
