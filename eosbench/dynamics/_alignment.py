"""How well an iterate near a manifold of minimizers is aligned to the top eigenvector there (Arora et al. 2022)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from eosbench.curvature._program import compiled
from eosbench.dynamics._flows import limiting_map
from eosbench.dynamics._maps import Loss


@compiled
def angle_to_top(loss: Loss, x: Float[Array, "p"], exponent: float) -> Float[Array, ""]:
    """θ, in radians and at most π/2: the angle between the transformed iterate x̃ and the top eigenvector at Φ(x).

    With `H = ∇²L(Φ(x))`, `x̃ = H^exponent (x - Φ(x))` up to a factor: exponent 1 for normalized
    gradient descent, 1/2 for gradient descent on √L.
    """
    _, components = _transformed(loss, x, exponent)
    return jnp.arctan2(jnp.linalg.norm(components[:-1]), jnp.abs(components[-1]))


@compiled
def projection_excess(loss: Loss, x: Float[Array, "p"], eta: Float[ArrayLike, ""]) -> Float[Array, "p"]:
    """`R_j`, j = 1 ... p: the length of x̃'s projection on v_j, ..., v_p, minus `λ_j eta`.

    Here x̃ = H (x - Φ(x)), as for normalized gradient descent, and λ_1 >= λ_2 >= ... belong to `H = ∇²L(Φ(x))`
    (Arora et al. 2022, theorem 4.3 (2)).
    """
    eigenvalues, components = _transformed(loss, x, 1.0)
    return (jnp.sqrt(jnp.cumsum(components**2)) - eta * eigenvalues)[::-1]


def _transformed(loss: Loss, x: Float[Array, "p"], exponent: float) -> tuple[Float[Array, "p"], Float[Array, "p"]]:
    """Eigenvalues of H in ascending order, and the components of `H^exponent (x - Φ(x))` along their eigenvectors."""
    limit = limiting_map(loss, x).point
    eigenvalues, vectors = jnp.linalg.eigh(jax.hessian(loss)(limit))
    return eigenvalues, jnp.maximum(eigenvalues, 0) ** exponent * (vectors.T @ (x - limit))
