"""Quadratic losses, and the map to which the warm-up of Arora, Li and Panigrahi (2022) reduces them."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class Quadratic(eqx.Module):
    """`½ xᵀ A x` with a symmetric Hessian A."""

    hessian: Float[Array, "p p"]

    def __call__(self, x: Float[Array, "p"]) -> Float[Array, ""]:
        return x @ self.hessian @ x / 2

    @classmethod
    def with_spectrum(
        cls, eigenvalues: Float[ArrayLike, "p"], basis: Float[ArrayLike, "p p"] | None = None
    ) -> "Quadratic":
        """The quadratic with these eigenvalues along the columns of an orthogonal `basis`, by default the axes."""
        eigenvalues = jnp.asarray(eigenvalues)
        if basis is None:
            return cls(jnp.diag(eigenvalues))
        basis = jnp.asarray(basis)
        return cls(basis * eigenvalues[None] @ basis.T)


def warm_up_step(hessian: Float[ArrayLike, "p p"]) -> Callable[[Float[Array, "p"]], Float[Array, "p"]]:
    """The map `x̃ - A x̃/‖x̃‖`.

    Normalized gradient descent on `½ xᵀ A x` becomes this map in `x̃ = A x/eta`, and gradient descent on the loss's
    square root in `x̃ = (2A)^½ x/eta` (warm-up of Arora, Li and Panigrahi 2022). At the origin the result is nan.
    """
    return eqx.Partial(_warm_up, jnp.asarray(hessian))


def alignment_rate(ratio: Float[ArrayLike, "..."], C: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """What two steps of `warm_up_step` multiply the component along v_i by, once x̃ is aligned to v_1.

    Then x̃ alternates between C λ_1 v_1 and -(1 - C) λ_1 v_1. With `ratio = λ_i/λ_1` that is `(1 - ratio/C)(1 -
    ratio/(1-C)) = 1 - ratio (1-ratio)/(C (1-C))`; the component dies out where this lies in (-1, 1).
    """
    ratio, C = jnp.asarray(ratio), jnp.asarray(C)
    return 1 - ratio * (1 - ratio) / (C * (1 - C))


def _warm_up(hessian: Float[Array, "p p"], x: Float[Array, "p"]) -> Float[Array, "p"]:
    return x - hessian @ x / jnp.sqrt(jnp.sum(x**2))
