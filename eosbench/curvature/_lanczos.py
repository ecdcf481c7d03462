"""Thick-restart block Lanczos for the algebraically largest eigenvalues of a symmetric map, from a cold start.

Wu and Simon (SIAM J. Matrix Anal. Appl. 22, 2000) for the restart. Beside ARPACK, which most people would use:

* It is one compiled loop: the product is traced into it, and nothing goes to the host.
* A block of k vectors is iterated, which finds a k-fold eigenvalue k times; a single vector cannot.
* The basis is orthogonalized twice against all of itself, so there are no ghost values.
* It stops by an estimate of the error of the values, min(r, max(r^2/gap, r/3)), and not by the residual norm r, which
  would take about twice as many products for the same digits of a value.
* Values and residuals are those of fresh products at the end, and a bound from above comes with them.
* The first row may lean towards a guess, such as the gradient.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature._basis import CHUNK, extend
from eosbench.curvature._bounds import are_simple, randomized_upper, ritz_errors, rounding, tolerance
from eosbench.curvature._layout import Layout
from eosbench.curvature._point import Product, block_product
from eosbench.curvature._spectrum import CONVERGED, NOT_FINITE, STARVED, Spectrum
from eosbench.curvature._unit import binary_unit

STOPS_IN_A_ROW = 2
"""One step that meets the tolerance can be an accident: a Ritz value resting on the second of a close pair."""

ENOUGH_STEPS = 12
FAR_BELOW = 0.02
"""While a close pair is unresolved, a Ritz vector is a mixture u = cos(a) v1 + sin(a) v2 of the two, with the residual
sin(2a)/2 times their gap, and the angle a is random: a small residual may be that of v2. So a solve with fewer steps
than `ENOUGH_STEPS` stops only when its errors are this far below the tolerance."""


MAX_HVPS = 2000
"""Products of a solve at most, unless the caller says otherwise."""


def dense_limit(k: int) -> int:
    """Up to this many parameters the whole matrix is cheaper than an iteration, and certain."""
    return max(256, 64 + 34 * k)


class _State(NamedTuple):
    basis: Float[Array, "m size"]  # rows; the k after those that are filled are the block that is multiplied next
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
    layout: Layout | None = None,
) -> Spectrum:
    """The k largest eigenvalues of a symmetric map on R^p, to errors <= rtol |value| + a few eps norm(H).

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
        layout: of the vectors, which may have padding and be split over devices; by default p entries on one device.
    """
    size = max((basis_size or 32 + 16 * k) // k, 4) * k
    layout = Layout.flat(p, dtype) if layout is None else layout
    solve = _Solve(product, p, k, size, jnp.asarray(rtol, dtype), dtype, guess is not None, layout)

    def unfinished(state: _State) -> Bool[Array, ""]:
        return state.finite & (state.stops < STOPS_IN_A_ROW) & (state.hvps + 2 * k <= max_hvps)

    def unfinished_with_room(state: _State) -> Bool[Array, ""]:
        return unfinished(state) & (state.filled < size)

    def cycle(state: _State) -> _State:
        return jax.lax.while_loop(unfinished_with_room, solve.step, solve.restart(state))

    state = jax.lax.while_loop(unfinished_with_room, solve.step, solve.start(guess, key))
    state = jax.lax.while_loop(unfinished, cycle, state)
    return solve.measured(state, k + extra)


@dataclass(frozen=True)
class _Solve:
    """What stays the same throughout a solve, and the three things that are done in it."""

    product: Product
    p: int
    k: int
    size: int  # rows with products, at which it restarts
    rtol: Float[Array, ""]
    dtype: jnp.dtype
    guessed: bool
    layout: Layout

    @property
    def kept(self) -> int:
        """Ritz vectors that outlive a restart."""
        return self.size // (2 * self.k) * self.k

    @property
    def rows(self) -> int:
        """Room for a full basis and the block after it, in whole chunks."""
        return -(-(self.size + self.k) // CHUNK) * CHUNK

    def start(self, guess: Float[Array, " p"] | None, key: PRNGKeyArray) -> _State:
        """A random block, its first row leaning towards the guess."""
        key, start_key = jax.random.split(key)
        block = self.layout.random(start_key, (self.k,), self.dtype)
        if guess is not None:
            block = block / jnp.linalg.norm(block, axis=1, keepdims=True)
            guess = guess / binary_unit(guess)
            block = block.at[0].add(guess / jnp.maximum(jnp.linalg.norm(guess), jnp.finfo(self.dtype).tiny))
        rows, zero = self.rows, jnp.asarray(0)
        basis = self.layout.constrain(jnp.zeros((rows, self.layout.size), self.dtype))
        basis, _, key = extend(basis, zero, block, key, self.layout)
        return _State(
            basis=basis,
            unit=jnp.ones((), self.dtype),
            projected=jnp.zeros((rows, rows), self.dtype),
            filled=zero,
            ritz_vectors=jnp.eye(rows, dtype=self.dtype),
            ritz_values=jnp.zeros(rows, self.dtype),
            upper=jnp.asarray(jnp.inf, self.dtype),
            hvps=zero,
            restarts=zero,
            stops=zero,
            finite=jnp.asarray(True),
            key=key,
        )

    def step(self, state: _State) -> _State:
        """The pending block multiplied, and the Ritz pairs of the space with it."""
        k, filled = self.k, state.filled
        index = jnp.arange(self.rows)
        block = jax.lax.dynamic_slice(state.basis, (filled, 0), (k, self.layout.size))
        image, unit = _in_unit(block_product(self.product, block), state)
        basis, coefficients, key = extend(state.basis, filled + k, image, state.key, self.layout)
        coupling = jnp.where((index < filled + k)[:, None], coefficients, 0)
        below = jax.lax.dynamic_slice(coefficients, (filled + k, 0), (k, k))
        projected = jax.lax.dynamic_update_slice(state.projected, coupling, (0, filled))
        projected = jax.lax.dynamic_update_slice(projected, coupling.T, (filled, 0))
        middle = jax.lax.dynamic_slice(coupling, (filled, 0), (k, k))
        projected = jax.lax.dynamic_update_slice(projected, (middle + middle.T) / 2, (filled, filled))
        values, vectors = self._ritz(projected, filled + k)

        last = jax.lax.dynamic_slice(vectors, (filled, 0), (k, self.rows))
        residuals = jnp.linalg.norm(below @ last, axis=0)
        smallest = jnp.where(index < filled + k, values, values[0]).min()
        norm = jnp.maximum(jnp.abs(values[0]), jnp.abs(smallest))
        errors = ritz_errors(values, residuals[:k])
        steps = (filled + k) // k
        rtol = jnp.where(steps < ENOUGH_STEPS, FAR_BELOW, 1) * self.rtol
        # Half of the rounding is left to the fresh products of the end.
        met = (errors <= tolerance(values[:k], rtol, rounding(norm, self.dtype) / 2)).all()
        upper = randomized_upper(values[0], smallest, self.p, steps, k, self.guessed)
        return _State(
            basis=basis,
            unit=unit,
            projected=projected,
            filled=filled + k,
            ritz_vectors=vectors,
            ritz_values=values,
            upper=jnp.where(state.restarts == 0, upper, state.upper),
            hvps=state.hvps + k,
            restarts=state.restarts,
            stops=jnp.where(met, state.stops + 1, 0),
            finite=jnp.isfinite(residuals[:k]).all(),
            key=key,
        )

    def restart(self, state: _State) -> _State:
        """The largest Ritz vectors in place of the basis, and after them the pending block."""
        index = jnp.arange(self.rows)
        # The mask is on the small matrix: on the rows it would be another basis.
        keep = jnp.where((index[None, :] < self.kept) & (index < self.size)[:, None], state.ritz_vectors, 0)
        block = jnp.arange(self.k)
        keep = keep.at[self.size + block, self.kept + block].set(1)
        (basis,) = self.layout.by_columns(lambda keep, basis: (keep.T @ basis,), keep, state.basis)
        return state._replace(
            basis=basis,
            projected=jnp.diag(jnp.where(index < self.kept, state.ritz_values, 0)),
            filled=jnp.asarray(self.kept),
            ritz_vectors=jnp.eye(self.rows, dtype=self.dtype),
            restarts=state.restarts + 1,
        )

    def measured(self, state: _State, wanted: int) -> Spectrum:
        """Rayleigh quotients and residuals of so many Ritz vectors, from fresh products."""
        inside = (jnp.arange(self.rows) < jnp.maximum(state.filled, wanted))[:, None]
        vectors = jnp.where(inside, state.ritz_vectors, 0)[:, :wanted].T @ state.basis
        vectors = self.layout.orthonormal(vectors)
        images, unit = _in_unit(block_product(self.product, vectors), state)
        values = jnp.sum(vectors * images, axis=1)
        order = jnp.argsort(-values)
        vectors, images, values = vectors[order], images[order], values[order]
        residuals = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
        with_next = jnp.append(values, state.ritz_values[wanted])
        errors = ritz_errors(with_next, residuals)
        unseen = rounding(jnp.abs(jnp.append(state.ritz_values, values)).max(), self.dtype)
        within = errors <= tolerance(values, self.rtol, unseen)
        # A small residual after few steps may be that of the wrong eigenvalue: the solver's own stop is asked for too.
        converged = within[: self.k].all() & (state.stops >= STOPS_IN_A_ROW)
        status = jnp.where(jnp.isfinite(residuals).all(), jnp.where(converged, CONVERGED, STARVED), NOT_FINITE)
        spectrum = Spectrum(
            values=values,
            errors=errors,
            upper=jnp.maximum(state.upper, values[0]),
            vectors=vectors,
            residuals=residuals,
            simple=are_simple(with_next, residuals, unseen),
            hvps=state.hvps + wanted,
            converged=converged,
            status=status,
            layout=self.layout,
        )
        return spectrum.times(unit)

    def _ritz(self, projected: Float[Array, "m m"], filled: Int[Array, ""]) -> tuple[Array, Array]:
        """Eigenpairs of the filled corner, descending, those of the padding last."""
        inside = jnp.arange(self.rows) < filled
        projected = jnp.where(inside[:, None] & inside[None, :], projected, 0)
        floor = -2 * jnp.abs(projected).sum(1).max() - 1  # below every Ritz value, so that padding sorts last
        padded = projected + jnp.diag(jnp.where(inside, 0, floor))
        corner = 4 * CHUNK  # most solves end within it, and a small eigenproblem costs next to nothing

        def whole() -> tuple[Array, Array]:
            values, vectors = jnp.linalg.eigh(padded, symmetrize_input=False)
            return values, vectors

        def small() -> tuple[Array, Array]:
            values, vectors = jnp.linalg.eigh(padded[:corner, :corner], symmetrize_input=False)
            rest = self.rows - corner
            return jnp.append(jnp.full(rest, floor), values), jnp.pad(vectors, ((0, rest), (rest, 0)))

        values, vectors = jax.lax.cond(filled <= corner, small, whole)
        return values[::-1], vectors[:, ::-1]


def _in_unit(images: Float[Array, "b p"], state: _State) -> tuple[Float[Array, "b p"], Float[Array, ""]]:
    unit = jnp.where(state.hvps == 0, binary_unit(images), state.unit)
    return images / unit, unit
