"""Factorization of a matrix into two (Chen and Bruna 2023, IV)."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class MatrixFactorization(eqx.Module):
    """`½ ‖Y Zᵀ - C‖²` (Frobenius) as a function of `factors = (Y, Z)`, summed over any leading axes of them.

    Minimizers are `Y Zᵀ = C`. There the leading eigendirection of the Hessian moves the residual along
    `a bᵀ`, the top left singular vectors of Y and of Z, and the sharpness is the sum of their squared norms.
    """

    target: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)

    def __call__(self, factors: Float[Array, "... 2 d d"]) -> Float[Array, ""]:
        return jnp.sum(self.residual(factors) ** 2) / 2

    def residual(self, factors: Float[Array, "... 2 d d"]) -> Float[Array, "... d d"]:
        """`Y Zᵀ - C`."""
        y, z = factors[..., 0, :, :], factors[..., 1, :, :]
        product = y @ jnp.swapaxes(z, -1, -2)
        return product - jnp.broadcast_to(self.target, product.shape)


def one_d_condition(factors: Float[np.ndarray, "2 d d"]) -> float:
    """`3 L'''² - L'' L''''` along the leading eigendirection of the Hessian at a minimizer, if that is simple.

    It is `96 s_Y² s_Z² (v_Y · v_Z)²/(s_Y² + s_Z²)` with the largest singular values of Y and Z and their right
    singular
    vectors: the direction (A, B) is `s_Z a v_Zᵀ, s_Y b v_Yᵀ` up to a factor, and along it `L'' = ‖P‖², L''' = 6 <P,
    Q>, L'''' = 12 ‖Q‖²` with `P = A Zᵀ + Y Bᵀ, Q = A Bᵀ`.
    """
    (_, s_y, v_y), (_, s_z, v_z) = (np.linalg.svd(factor) for factor in factors)
    cosine = v_y[0] @ v_z[0]
    return float(96 * s_y[0] ** 2 * s_z[0] ** 2 * cosine**2 / (s_y[0] ** 2 + s_z[0] ** 2))
