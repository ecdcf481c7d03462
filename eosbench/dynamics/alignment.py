"""How well an iterate near a manifold of minimizers is aligned to the top eigenvector there (Arora et al. 2022)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eosbench.dynamics.flows import limiting_map
from eosbench.dynamics.maps import Loss


@eqx.filter_jit
def angle_to_top(loss: Loss, x: Float[Array, "p"], exponent: float) -> Float[Array, ""]:
    """θ, in radians and at most π/2: the angle between the transformed iterate x̃ and the top eigenvector at Φ(x).

    With ``H = ∇²L(Φ(x))``, ``x̃ = H^exponent (x - Φ(x))`` up to a factor: exponent 1 for normalized
    gradient descent, 1/2 for gradient descent on √L.
    """
    limit = limiting_map(loss, x).point
    eigenvalues, vectors = jnp.linalg.eigh(jax.hessian(loss)(limit))
    components = jnp.maximum(eigenvalues, 0) ** exponent * (vectors.T @ (x - limit))
    return jnp.arctan2(jnp.linalg.norm(components[:-1]), jnp.abs(components[-1]))
