"""Growing an orthonormal basis, row by row, inside a compiled loop."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eosbench.curvature._layout import Layout

CHUNK = 8
"""Rows of a basis are visited in chunks, as far as they are filled; the number of rows must be a multiple of it."""


def extend(
    basis: Float[Array, "m p"], filled: Int[Array, ""], block: Float[Array, "b p"], key: PRNGKeyArray, layout: Layout
) -> tuple[Float[Array, "m p"], Float[Array, "m b"], PRNGKeyArray]:
    """Write an orthonormalized block behind the first `filled` rows of an orthonormal basis.

    Rows from `filled` on are overwritten. Where a row of the block depends on what is there already (its remainder is
    rounding), a random direction takes its place and its coefficient is zero, so an exhausted Krylov space is left
    rather than divided by zero.

    Returns:
        The basis, the coefficients C with block = C.T @ basis, and the key.
    """
    m, p = basis.shape
    eps = jnp.finfo(basis.dtype).eps

    def subtract(vector: Array, basis: Array, rows: Array) -> tuple[Array, Array]:
        def chunk(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            vector, coefficients = carry
            part = jax.lax.dynamic_slice(basis, (i * CHUNK, 0), (CHUNK, p))
            inside = i * CHUNK + jnp.arange(CHUNK) < rows
            found = jnp.where(inside, part @ vector, 0)
            return vector - found @ part, jax.lax.dynamic_update_slice(coefficients, found, (i * CHUNK,))

        start = (vector, jnp.zeros(m, basis.dtype))
        return jax.lax.fori_loop(0, (rows + CHUNK - 1) // CHUNK, chunk, start)

    def insert(j: Array, carry: tuple) -> tuple:
        basis, coefficients, key = carry
        rows = filled + j
        vector, first = subtract(block[j], basis, rows)
        vector, second = subtract(vector, basis, rows)
        norm = jnp.linalg.norm(vector)
        key, random_key = jax.random.split(key)

        def fresh() -> Array:
            direction = layout.random(random_key, (), basis.dtype)
            for _ in range(2):
                direction = subtract(direction / jnp.linalg.norm(direction), basis, rows)[0]
            return direction / jnp.linalg.norm(direction)

        dependent = norm <= 10 * eps * jnp.linalg.norm(block[j])
        vector = jax.lax.cond(dependent, fresh, lambda: vector / norm)
        column = (first + second).at[rows].set(jnp.where(dependent, 0, norm))
        basis = jax.lax.dynamic_update_slice(basis, vector[None], (rows, 0))
        return basis, coefficients.at[:, j].set(column), key

    return jax.lax.fori_loop(0, len(block), insert, (basis, jnp.zeros((m, len(block)), basis.dtype), key))
