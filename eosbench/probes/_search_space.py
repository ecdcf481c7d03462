"""The search space of the sharpness probe: orthonormal vectors, some multiplied in this step and some before."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eosbench.curvature._point import Product


class Space(NamedTuple):
    """Room for c vectors of length p."""

    basis: Float[Array, "c p"]  # orthonormal rows, `filled` of them, the others zero
    images: Float[Array, "c p"]  # products of the fresh rows, zero elsewhere
    projected: Float[Array, "c c"]
    fresh: Bool[Array, " c"]
    ages: Float[Array, " c"]
    filled: Int[Array, ""]
    hvps: Int[Array, ""]


def sorted_eigh(matrix: Float[Array, "c c"], mask: Bool[Array, " c"]) -> tuple[Array, Array]:
    """Eigenpairs of the masked rows and columns, descending; the others' come last."""
    matrix = jnp.where(mask[:, None] & mask[None, :], matrix, 0)
    floor = -2 * jnp.abs(matrix).sum(1).max() - 1
    values, vectors = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(mask, 0, floor)), symmetrize_input=False)
    return values[::-1], vectors[:, ::-1]


def orthogonal(vector: Float[Array, " p"], basis: Float[Array, "c p"]) -> Float[Array, " p"]:
    """The normalized part of a vector outside orthonormal rows (zero rows do no harm)."""
    vector = vector / jnp.linalg.norm(vector)
    vector = vector - (basis @ vector) @ basis
    return vector / jnp.linalg.norm(vector)


def orthonormal(vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
    """Gram-Schmidt on nearly orthonormal rows."""
    triangle = jnp.linalg.cholesky(vectors @ vectors.T)
    return (
        jax.scipy.linalg.solve_triangular(triangle, jnp.eye(len(vectors), dtype=triangle.dtype), lower=True) @ vectors
    )


def multiply(
    product: Product,
    space: Space,
    b: int,
    inside: Bool[Array, ""],
    combination: Float[Array, " c"],
    outside: Float[Array, " p"],
) -> Space:
    """One more product: of a unit combination of stale rows (all among the first b) if `inside`, else of a new row."""
    # A reflection among the stale rows brings the promising combination into one of them. Both cases are written
    # without a branch, which would copy the space.
    turned = jnp.argmax(jnp.abs(combination))
    normal = (combination * jnp.where(combination[turned] < 0, 1, -1)).at[turned].add(-1)
    length = normal @ normal
    normal = jnp.where(inside & (length > 0), normal / jnp.sqrt(jnp.where(length > 0, length, 1)), 0)
    reflection = jnp.eye(len(normal), dtype=normal.dtype) - 2 * jnp.outer(normal, normal)
    block = space.basis[:b]  # every stale row is one of the carried ones
    basis = space.basis.at[:b].set(block - 2 * jnp.outer(normal[:b], normal[:b] @ block))
    projected = reflection @ space.projected @ reflection
    ages = jnp.where(space.fresh, space.ages, reflection**2 @ space.ages)

    row = jnp.where(inside, turned, space.filled)
    vector = jnp.where(inside, basis[turned], orthogonal(outside, basis))
    image = product(vector)
    basis = jax.lax.dynamic_update_slice(basis, vector[None], (row, 0))
    entries = basis @ image
    projected = jax.lax.dynamic_update_slice(projected, entries[:, None], (0, row))
    projected = jax.lax.dynamic_update_slice(projected, entries[None, :], (row, 0))
    return Space(
        basis=basis,
        images=jax.lax.dynamic_update_slice(space.images, image[None], (row, 0)),
        projected=projected,
        fresh=space.fresh.at[row].set(True),
        ages=ages.at[row].set(0),
        filled=jnp.where(inside, space.filled, space.filled + 1),
        hvps=space.hvps + 1,
    )


def compress(space: Space, b: int) -> Space:
    """Only the b largest fresh Ritz pairs, when the space is full."""
    c = len(space.basis)
    values, y = sorted_eigh(space.projected, space.fresh)
    kept = jnp.arange(c) < jnp.minimum(b, space.fresh.sum())
    keep = jnp.where(kept[None, :], y, 0).T
    return space._replace(
        basis=keep @ space.basis,
        images=keep @ space.images,
        projected=jnp.diag(jnp.where(kept, values, 0)),
        fresh=kept,
        ages=jnp.zeros_like(space.ages),
        filled=kept.sum(),
    )
