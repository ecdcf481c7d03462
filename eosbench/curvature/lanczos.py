"""Thick-restart block Lanczos for the algebraically largest eigenvalues of a symmetric map, from a cold start.

Wu and Simon (SIAM J. Matrix Anal. Appl. 22, 2000) for the restart; full reorthogonalization, so no ghost values. A
block of k finds k-fold eigenvalues, which a single vector cannot.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature.basis import CHUNK, extend
from eosbench.curvature.bounds import are_simple, randomized_upper, ritz_errors
from eosbench.curvature.operator import Product, block_product
from eosbench.curvature.spectrum import CONVERGED, NOT_FINITE, STARVED, Spectrum
from eosbench.curvature.unit import binary_unit

STOPS_IN_A_ROW = 2
"""One step that meets the tolerance can be an accident: a Ritz value resting on the second of a close pair."""

ENOUGH_STEPS = 12
FAR_BELOW = 0.02
"""While a close pair is unresolved, its mixture has a residual of (share of the one) x (gap), and that share is random.
So a solve with fewer steps than `ENOUGH_STEPS` stops only when its errors are this far below the tolerance."""


def dense_limit(k: int) -> int:
    """Up to this many parameters the whole matrix is cheaper than an iteration, and certain."""
    return max(256, 64 + 34 * k)


class _State(NamedTuple):
    basis: Float[Array, "m p"]  # rows; the last b that are filled are the block that is multiplied next
    unit: Float[Array, ""]  # of all that follows, that of the first image
    projected: Float[Array, "m m"]
    filled: Int[Array, ""]  # rows whose products are in `projected`
    ritz_vectors: Float[Array, "m m"]
    ritz_values: Float[Array, " m"]
    upper: Float[Array, ""]
    hvps: Int[Array, ""]
    restarts: Int[Array, ""]
    stops: Int[Array, ""]
    finite: Bool[Array, ""]
    key: PRNGKeyArray


def lanczos(
    product: Product,
    p: int,
    k: int,
    rtol: float | Float[Array, ""],
    max_hvps: int | Int[Array, ""],
    key: PRNGKeyArray,
    dtype: jnp.dtype,
    basis_size: int | None = None,
    guess: Float[Array, " p"] | None = None,
    extra: int = 0,
) -> Spectrum:
    """The k largest eigenvalues of a symmetric map on R^p, to errors <= rtol |value| + 10 eps norm(H).

    Traceable by `jax.jit`; needs p >= basis_size + 2k. Memory is about (basis_size + 4 k) vectors of length p.

    Args:
        product: v -> H v.
        p: dimension.
        k: how many eigenpairs, also the size of the block.
        rtol: tolerance relative to each value.
        max_hvps: no further block is multiplied when this many products were spent; the k fresh products from which the
            values are computed are counted and come out of the same budget.
        key: for the random start.
        dtype: of the vectors.
        basis_size: vectors kept before a restart, by default 32 + 16 k.
        guess: where the wanted eigenvectors may lean, such as the gradient; it is added to the first random start with
            the same norm, so it saves products if it is good and costs the guarantees little if it is not.
        extra: further Ritz pairs that are returned as they are when the k have converged.
    """
    size = max((basis_size or 32 + 16 * k) // k, 4) * k
    kept = size // (2 * k) * k
    eps = jnp.finfo(dtype).eps
    rtol = jnp.asarray(rtol, dtype)
    rows = -(-(size + k) // CHUNK) * CHUNK
    index = jnp.arange(rows)
    key, start_key = jax.random.split(key)
    start = jax.random.normal(start_key, (k, p), dtype)
    if guess is not None:
        start = start / jnp.linalg.norm(start, axis=1, keepdims=True)
        guess = guess / binary_unit(guess)
        start = start.at[0].add(guess / jnp.maximum(jnp.linalg.norm(guess), jnp.finfo(dtype).tiny))
    basis, _, key = extend(jnp.zeros((rows, p), dtype), jnp.asarray(0), start, key)

    def ritz(projected: Array, filled: Array) -> tuple[Array, Array]:
        inside = index < filled
        projected = jnp.where(inside[:, None] & inside[None, :], projected, 0)
        floor = -2 * jnp.abs(projected).sum(1).max() - 1  # below every Ritz value, so that padding sorts last
        padded = projected + jnp.diag(jnp.where(inside, 0, floor))
        corner = 4 * CHUNK  # most solves end within it, and a small eigenproblem costs next to nothing

        def whole() -> tuple[Array, Array]:
            values, vectors = jnp.linalg.eigh(padded, symmetrize_input=False)
            return values, vectors

        def small() -> tuple[Array, Array]:
            values, vectors = jnp.linalg.eigh(padded[:corner, :corner], symmetrize_input=False)
            rest = rows - corner
            return jnp.append(jnp.full(rest, floor), values), jnp.pad(vectors, ((0, rest), (rest, 0)))

        values, vectors = jax.lax.cond(filled <= corner, small, whole)
        return values[::-1], vectors[:, ::-1]

    def step(state: _State) -> _State:
        filled, key = state.filled, state.key
        block = jax.lax.dynamic_slice(state.basis, (filled, 0), (k, p))
        image, unit = _in_unit(block_product(product, block), state)
        basis, coefficients, key = extend(state.basis, filled + k, image, key)
        coupling = jnp.where((index < filled + k)[:, None], coefficients, 0)
        below = jax.lax.dynamic_slice(coefficients, (filled + k, 0), (k, k))
        projected = jax.lax.dynamic_update_slice(state.projected, coupling, (0, filled))
        projected = jax.lax.dynamic_update_slice(projected, coupling.T, (filled, 0))
        middle = jax.lax.dynamic_slice(coupling, (filled, 0), (k, k))
        projected = jax.lax.dynamic_update_slice(projected, (middle + middle.T) / 2, (filled, filled))
        values, vectors = ritz(projected, filled + k)

        last = jax.lax.dynamic_slice(vectors, (filled, 0), (k, rows))
        residuals = jnp.linalg.norm(below @ last, axis=0)
        smallest = jnp.where(index < filled + k, values, values[0]).min()
        norm = jnp.maximum(jnp.abs(values[0]), jnp.abs(smallest))
        errors = ritz_errors(values, residuals[:k])
        ratio = jnp.where((filled + k) // k < ENOUGH_STEPS, FAR_BELOW, 1)
        met = (errors <= ratio * rtol * jnp.abs(values[:k]) + 5 * eps * norm).all()
        upper = jnp.where(
            state.restarts == 0,
            randomized_upper(values[0], smallest, p, (filled + k) // k, k, guess is not None),
            state.upper,
        )
        return _State(
            basis,
            unit,
            projected,
            filled + k,
            vectors,
            values,
            upper,
            state.hvps + k,
            state.restarts,
            jnp.where(met, state.stops + 1, 0),
            jnp.isfinite(residuals[:k]).all(),
            key,
        )

    def restart(state: _State) -> _State:
        keep = jnp.where(index[None, :] < kept, state.ritz_vectors, 0)
        compressed = keep.T @ jnp.where((index < size)[:, None], state.basis, 0)
        pending = jax.lax.dynamic_slice(state.basis, (size, 0), (k, p))
        basis = jax.lax.dynamic_update_slice(compressed, pending, (kept, 0))
        values = jnp.where(index < kept, state.ritz_values, 0)
        return state._replace(
            basis=basis,
            projected=jnp.diag(values),
            filled=jnp.asarray(kept),
            ritz_vectors=jnp.eye(rows, dtype=dtype),
            restarts=state.restarts + 1,
        )

    def unfinished(state: _State) -> Bool[Array, ""]:
        return state.finite & (state.stops < STOPS_IN_A_ROW) & (state.hvps + 2 * k <= max_hvps)

    def unfinished_with_room(state: _State) -> Bool[Array, ""]:
        return unfinished(state) & (state.filled < size)

    def cycle(state: _State) -> _State:
        return jax.lax.while_loop(unfinished_with_room, step, restart(state))

    zero = jnp.asarray(0)
    state = jax.lax.while_loop(
        unfinished_with_room,
        step,
        _State(
            basis,
            jnp.ones((), dtype),
            jnp.zeros((rows, rows), dtype),
            zero,
            jnp.eye(rows, dtype=dtype),
            jnp.zeros(rows, dtype),
            jnp.asarray(jnp.inf, dtype),
            zero,
            zero,
            zero,
            jnp.asarray(True),
            key,
        ),
    )
    state = jax.lax.while_loop(unfinished, cycle, state)
    found = k + extra
    inside = (index < jnp.maximum(state.filled, found))[:, None]
    vectors = jnp.where(inside, state.ritz_vectors, 0)[:, :found].T @ jnp.where(inside, state.basis, 0)
    vectors = jnp.linalg.qr(vectors.T)[0].T
    return _measured(product, vectors, state, k, rtol)


def _measured(
    product: Product, vectors: Float[Array, "found p"], state: _State, k: int, rtol: float | Float[Array, ""]
) -> Spectrum:
    """Rayleigh quotients and residuals of orthonormal rows from fresh products."""
    images, unit = _in_unit(block_product(product, vectors), state)
    values = jnp.sum(vectors * images, axis=1)
    order = jnp.argsort(-values)
    vectors, images, values = vectors[order], images[order], values[order]
    residuals = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    with_next = jnp.append(values, state.ritz_values[len(values)])
    errors = ritz_errors(with_next, residuals)
    norm = jnp.abs(jnp.append(state.ritz_values, values)).max()
    rounding = 10 * jnp.finfo(values.dtype).eps * norm
    simple = are_simple(with_next, residuals, rounding)
    within = errors <= rtol * jnp.abs(values) + rounding
    # A small residual after few steps may be that of the wrong eigenvalue, so the solver's own stop is asked for too.
    converged = within[:k].all() & (state.stops >= STOPS_IN_A_ROW)
    status = jnp.where(jnp.isfinite(residuals).all(), jnp.where(converged, CONVERGED, STARVED), NOT_FINITE)
    upper = jnp.maximum(state.upper, values[0])
    hvps = state.hvps + len(values)
    spectrum = Spectrum(values, errors, upper, vectors, residuals, simple, hvps, converged, status)
    return spectrum.times(unit)


def _in_unit(images: Float[Array, "b p"], state: _State) -> tuple[Float[Array, "b p"], Float[Array, ""]]:
    unit = jnp.where(state.hvps == 0, binary_unit(images), state.unit)
    return images / unit, unit
