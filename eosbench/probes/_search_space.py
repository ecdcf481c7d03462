"""The search space of the sharpness probe: orthonormal vectors, some multiplied in this step and some before."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eosbench.curvature._layout import Layout
from eosbench.curvature._point import Product

T = TypeVar("T")

DRIFT_DECAY = 0.5
"""What of a fast change the drift of a row still remembers when the row is renewed the next time."""

SPREAD_DECAY = 0.8
"""The same of the spread, which is all that is known of what stale vectors have outside: forgotten as soon as the drift
is, it leaves residuals in a cluster a seventh too small."""


class Space(NamedTuple):
    """Room for c vectors of length p, of which the first b are carried from step to step, the explorer as the last.

    A row is *fresh* if it was multiplied in this step, else *stale*.
    """

    basis: Float[Array, "c p"]  # orthonormal rows, `filled` of them, the others zero
    outside: Float[Array, "c p"]  # of the products of fresh rows the part outside the space, zero for other rows
    projected: Float[Array, "c c"]
    fresh: Bool[Array, " c"]
    ages: Float[Array, " c"]  # in steps, since the product
    reach: Float[Array, " c"]  # of stale rows, the norm that `outside` had when they were multiplied
    drift: Float[Array, " c"]  # how much a row of the matrix changes in a step, a decaying maximum
    spread: Float[Array, ""]  # how much `outside` grows in a step, likewise
    filled: Int[Array, ""]
    hvps: Int[Array, ""]

    @property
    def live(self) -> Bool[Array, " c"]:
        """The rows that are there."""
        return jnp.arange(len(self.basis)) < self.filled

    def over_fresh(self, function: Callable[[Int[Array, ""], T], T], start: T) -> T:
        """What a function of a row and a value makes of the value, from one fresh row to the next.

        A few rows are fresh, and to visit these is less work than to multiply with zeros for the others.
        """
        rows = jnp.argsort(~self.fresh)
        end: T = jax.lax.fori_loop(0, self.fresh.sum(), lambda j, value: function(rows[j], value), start)
        return end

    def gram(self) -> Float[Array, "c c"]:
        """The inner products of what the products have outside the space."""
        return self.over_fresh(
            lambda row, gram: gram.at[row].set(self.outside @ self.outside[row]), jnp.zeros_like(self.projected)
        )


def eigenpairs(matrices: Float[Array, "n c c"], masks: Bool[Array, "n c"]) -> tuple[Array, Array]:
    """Eigenpairs of the masked rows and columns of each, descending, vectors as rows; the others' come last."""
    matrices = jnp.where(masks[:, :, None] & masks[:, None, :], matrices, 0)
    floor = -2 * jnp.abs(matrices).sum(2).max(1) - 1
    diagonal = jnp.where(masks, 0, floor[:, None])
    # Of the negative, ascending: so that rows which tie keep their order.
    values, vectors = jnp.linalg.eigh(-matrices - jax.vmap(jnp.diag)(diagonal), symmetrize_input=False)
    return -values, vectors.mT


def orthogonal(vector: Float[Array, " p"], basis: Float[Array, "c p"]) -> Float[Array, " p"]:
    """The normalized part of a vector outside orthonormal rows (zero rows do no harm)."""
    vector = vector / jnp.linalg.norm(vector)
    vector = vector - (basis @ vector) @ basis
    return vector / jnp.linalg.norm(vector)


def orthonormal(vectors: Float[Array, "b p"], layout: Layout) -> Float[Array, "b p"]:
    """Gram-Schmidt on nearly orthonormal rows."""
    return orthonormalizing(layout.inner(vectors, vectors)) @ vectors


def orthonormalizing(gram: Float[Array, "b b"]) -> Float[Array, "b b"]:
    """What makes rows with these inner products orthonormal, from the left."""
    triangle = jnp.linalg.cholesky(gram)
    return jax.scipy.linalg.solve_triangular(triangle, jnp.eye(len(gram), dtype=gram.dtype), lower=True)


def multiply(
    product: Product, space: Space, b: int, renew: Bool[Array, ""], row: Int[Array, ""], direction: Float[Array, " p"]
) -> Space:
    """One more product: of a row that is there if `renew`, else of a new one in this direction."""
    row = jnp.where(renew, row, space.filled)
    # What a branch returns is one vector: with `where` the compiler makes it anew wherever it is used, and copies the
    # basis for that.
    vector = jax.lax.cond(renew, lambda: space.basis[row], lambda: orthogonal(direction, space.basis))
    image = product(vector)
    basis = jax.lax.dynamic_update_slice(space.basis, vector[None], (row, 0))
    entries = basis @ image
    # What earlier products have along a new row is outside no more; along one that was there they have nothing.
    outside = space._replace(fresh=space.fresh & ~renew).over_fresh(
        lambda row, outside: outside.at[row].add(-(outside[row] @ vector) * vector), space.outside
    )
    beyond = image - entries @ basis
    outside = jax.lax.dynamic_update_slice(outside, beyond[None], (row, 0))
    # Seen where a row is renewed is how fast the matrix changes. A whole row, for one entry can stay what it was by
    # chance; but without the explorer, which moves by itself. Of a new row nothing is known.
    place = jnp.arange(len(entries))
    seen = jnp.where(row == b - 1, place == b - 1, space.live & (place != b - 1))
    age = jnp.maximum(space.ages[row], 1)
    change = jnp.linalg.norm(jnp.where(seen, entries - space.projected[row], 0)) / age
    growth = jnp.maximum((jnp.linalg.norm(beyond) - space.reach[row]) / age, SPREAD_DECAY * space.spread)
    drift = jnp.where(renew, jnp.maximum(change, DRIFT_DECAY * space.drift[row]), space.drift.max())
    projected = jax.lax.dynamic_update_slice(space.projected, entries[:, None], (0, row))
    projected = jax.lax.dynamic_update_slice(projected, entries[None, :], (row, 0))
    return Space(
        basis=basis,
        outside=outside,
        projected=projected,
        fresh=space.fresh.at[row].set(True),
        ages=space.ages.at[row].set(0),
        reach=space.reach.at[row].set(0),
        drift=space.drift.at[row].set(drift),
        spread=jnp.where(renew & (row != b - 1), growth, space.spread),
        filled=jnp.where(renew, space.filled, space.filled + 1),
        hvps=space.hvps + 1,
    )


def compress(space: Space, b: int, layout: Layout) -> Space:
    """Of the fresh rows only the largest Ritz vectors, as many as keep the block full; the stale ones as they are."""
    c = len(space.basis)
    _, y = (found[0] for found in eigenpairs(space.projected[None], space.fresh[None]))
    n = jnp.maximum(space.fresh[:b].sum(), 2)
    rank = jnp.cumsum(space.fresh) - 1
    kept = space.fresh & (rank < n)
    stale = space.live & ~space.fresh
    # The fresh rows that are kept take the first of their places.
    keep = jnp.where(kept[:, None], y[rank], jnp.where(stale[:, None], jnp.eye(c, dtype=y.dtype), 0))
    projected = keep @ space.projected @ keep.T
    # What leaves the space of an image is outside from now on.
    images = jnp.where(space.fresh[:, None], space.projected, 0)
    left = jnp.where(kept[:, None], keep @ images - projected @ keep, 0)

    def changed(small: tuple[Array, Array, Array], basis: Array, outside: Array) -> tuple[Array, Array]:
        keep, kept, left = small
        return keep @ basis, kept @ outside + left @ basis

    small = keep, jnp.where(kept[:, None], keep, 0), left
    basis, outside = layout.by_columns(changed, small, space.basis, space.outside)
    return space._replace(
        basis=basis,
        outside=outside,
        projected=projected,
        fresh=kept,
        ages=jnp.where(stale, space.ages, 0),
        reach=jnp.where(stale, space.reach, 0),
        drift=jnp.where(stale, space.drift, jnp.where(kept, space.drift.max(), 0)),
        filled=b + jnp.maximum(n - space.fresh[:b].sum(), 0),
    )
