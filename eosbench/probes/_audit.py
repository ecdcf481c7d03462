"""What a tracker may have missed: a look at the Hessian from a random start, outside the vectors that are known.

A tracker sees what its vectors share a direction with; an eigenvalue that rises elsewhere is seen by chance, and late.
A Lanczos run from a start that has nothing to do with them sees it, and its extreme Ritz values bound what there is
with a stated probability of failure. The known vectors are kept out of it, for otherwise it would spend its products on
finding their eigenvalues again, which are the largest.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature._bounds import randomized_upper, trusted_error
from eosbench.curvature._layout import Layout
from eosbench.curvature._point import Product
from eosbench.probes._search_space import eigenpairs, orthogonal

STEPS = 24
"""Products of one run."""


class Audit(NamedTuple):
    """The largest eigenvalue of a Hessian between vectors orthogonal to n known ones.

    Attributes:
        value: a Ritz value, never above it but for rounding.
        error: how far below it the value may be, an estimate; too small where the value is that of a mixture.
        residual: the norm of what the product of its vector has outside that vector and the known ones.
        upper: the eigenvalue is at most this, but for a probability of 1e-6.
        vector: that of the value, or zero where it was not asked for.
        hvps: products.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    residual: Float[Array, ""]
    upper: Float[Array, ""]
    vector: Float[Array, " p"]
    hvps: Int[Array, ""]

    @classmethod
    def of_nothing(cls, vector: Float[Array, " p"]) -> "Audit":
        """What there is where no one looked, with a vector of this shape."""
        zero, infinite = jnp.zeros((), vector.dtype), jnp.full((), jnp.inf, vector.dtype)
        return cls(-infinite, zero, zero, infinite, jnp.zeros_like(vector), jnp.asarray(0))


class _Recurrence(NamedTuple):
    vector: Float[Array, " p"]
    before: Float[Array, " p"]
    combined: Float[Array, " p"]  # of all vectors so far, with given weights
    diagonal: Float[Array, " m"]
    beside: Float[Array, " m"]  # entries between a vector and the next one


def audit(
    product: Product, known: Float[Array, "n p"], matters: Float[ArrayLike, ""], key: PRNGKeyArray, layout: Layout
) -> Audit:
    """Look outside the known vectors, which are orthonormal rows.

    Two vectors of the recurrence are held at a time. Where an eigenvalue may be above `matters` it runs a second time,
    for the vector: then the audit takes twice the products.
    """
    dtype = known.dtype
    start = orthogonal(layout.random(key, (), dtype), known)
    nothing = jnp.zeros_like(start)

    def unfinished(carry: tuple[Audit, Float[Array, " m"]]) -> Bool[Array, ""]:
        found, _ = carry
        return (found.hvps == 0) | ((found.hvps == STEPS) & (found.value + found.error > matters))

    def run(carry: tuple[Audit, Float[Array, " m"]]) -> tuple[Audit, Float[Array, " m"]]:
        found, weights = carry
        entries = jnp.zeros(STEPS, dtype)
        first = _Recurrence(start, nothing, nothing, entries, entries)
        last = jax.lax.fori_loop(0, STEPS, lambda j, state: _advance(product, known, weights[j], j, state), first)
        values, vectors = _ritz(last)
        residual = jnp.abs(last.beside[-1] * vectors[0, -1])
        error = trusted_error(residual, values[0] - values[1])
        upper = randomized_upper(values[0], values[-1], layout.p - len(known), STEPS)
        return Audit(values[0], error, residual, upper, last.combined, found.hvps + STEPS), vectors[0]

    found, _ = jax.lax.while_loop(unfinished, run, (Audit.of_nothing(start), jnp.zeros(STEPS, dtype)))
    return found


def _advance(
    product: Product, known: Float[Array, "n p"], weight: Float[Array, ""], j: Int[Array, ""], state: _Recurrence
) -> _Recurrence:
    """One step of Lanczos' recurrence, between vectors orthogonal to the known ones."""
    image = product(state.vector)
    # Where nothing is left to multiply the first entry stands again: a zero would look like an eigenvalue.
    left = (j == 0) | (state.vector != 0).any()
    entry = jnp.where(left, state.vector @ image, state.diagonal[0])
    rest = image - entry * state.vector - jnp.where(j > 0, state.beside[j - 1], 0) * state.before
    rest = rest - (known @ rest) @ known
    length = jnp.linalg.norm(rest)
    return _Recurrence(
        vector=rest / jnp.where(length > 0, length, 1),
        before=state.vector,
        combined=state.combined + weight * state.vector,
        diagonal=state.diagonal.at[j].set(entry),
        beside=state.beside.at[j].set(length),
    )


def _ritz(state: _Recurrence) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Ritz values, descending, and their vectors as rows."""
    beside = state.beside[:-1]
    matrix = jnp.diag(state.diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
    values, vectors = eigenpairs(matrix[None], jnp.ones((1, STEPS), bool))
    return values[0], vectors[0]
