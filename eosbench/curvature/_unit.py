"""A unit for the Hessian, so that nothing that is found depends on the unit of the loss."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def binary_unit(sample: Float[Array, "..."]) -> Float[Array, ""]:
    """The power of two next below the largest entry in modulus; one where that is zero or not finite.

    A solver squares what it multiplies (norms, residuals), which in single precision is zero below 1e-23 and infinite
    above 1e19. It therefore works in the unit of its first image, at no further product; and since a power of two
    changes no digit, a loss that is multiplied by another power of two gives the same digits.
    """
    largest = jnp.abs(sample).max()
    mantissa, _ = jnp.frexp(largest)  # in [1/2, 1), so the quotient is exact; jnp.ldexp goes through a rounded power
    return jnp.where((largest > 0) & jnp.isfinite(largest), largest / (2 * mantissa), 1)
