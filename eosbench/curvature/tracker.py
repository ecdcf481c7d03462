"""Following the largest eigenvalues of a Hessian along a trajectory: a probe for `eosbench.train`.

A Davidson iteration whose search space is carried from step to step. The Hessian changes little in a step, so of the carried
vectors only the wanted ones are multiplied by the new Hessian at first. The others keep their entries of the projected
matrix from the step at which they were last multiplied, with an allowance that grows with age; only their couplings
to multiplied vectors are new, by symmetry, at no cost. The next product goes where the projected matrix, with these
allowances, or the part of the residual outside the space promises most, until what is promised is within the tolerance.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature.bounds import trusted_error
from eosbench.curvature.dense import dense_spectrum
from eosbench.curvature.lanczos import lanczos
from eosbench.curvature.operator import Linearization, block_product

DENSE = 64
"""Up to this many parameters every step solves the whole matrix."""

WORK = 4
"""Rows of the search space beyond the block; it is compressed to the block when they are full."""


class Track(NamedTuple):
    """What the probe records at a step; `Run.probes[name]` stacks them along a leading axis of measurements.

    Attributes:
        values: the k largest eigenvalues, descending, shape (k,): Ritz values over vectors multiplied in this step, so
            lower bounds up to the rounding of a product.
        errors: estimates of how far each lies below its eigenvalue, shape (k,).
        residuals: norms of H u - value u, shape (k,): some eigenvalue lies that near.
        converged: whether errors <= rtol |value| + 10 eps norm(H) for all k, scalar.
        hvps: Hessian-vector products spent in this step, scalar.
        block: Ritz values of all carried vectors, shape (block,), the first k of them close to `values`.
        ages: how many steps ago the products were taken that each of `block` rests on, weighted, shape (block,); 0 is fresh.
    """

    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    residuals: Float[Array, " k"]
    converged: Bool[Array, ""]
    hvps: Int[Array, ""]
    block: Float[Array, " b"]
    ages: Float[Array, " b"]


class _State(NamedTuple):
    vectors: Float[Array, "b p"]
    values: Float[Array, " b"]
    ages: Float[Array, " b"]
    wanted: Float[
        Array, "k p"
    ]  # the k wanted vectors as they were found; `vectors` holds a prediction of the next ones
    motion: Float[Array, "k p"]  # their last displacement outside the block
    explorer: Float[Array, " p"]
    drift: Float[Array, ""]  # how much a value changes in a step, a decaying maximum
    step: Int[Array, ""]
    key: PRNGKeyArray


class _Space(NamedTuple):
    basis: Float[Array, "c p"]  # orthonormal rows, `filled` of them
    images: Float[Array, "c p"]  # products of the fresh rows, zero elsewhere
    projected: Float[Array, "c c"]
    fresh: Bool[Array, " c"]
    ages: Float[Array, " c"]
    filled: Int[Array, ""]
    hvps: Int[Array, ""]


class _Estimate(NamedTuple):
    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    residuals: Float[Array, " k"]
    worst: Int[Array, ""]
    inside: Float[Array, " c"]  # the stale combination that promises most for the worst value
    outside: Float[Array, " p"]  # the part of its residual outside the space
    go_inside: Bool[Array, ""]
    met: Bool[Array, ""]


class Sharpness(eqx.Module):
    """A probe that measures the k largest Hessian eigenvalues at every step of training, warm from the step before.

    Attributes:
        k: how many values must meet the tolerance.
        rtol: tolerance of the error estimates relative to each value.
        max_hvps: most products in one step; where they do not suffice, the step is marked as not converged.
        block: vectors carried from step to step, at least k; several eigenvalues sit together at the edge of stability.
        every: measure every this many steps.
        explore: every this many measurements one product goes to a direction that started at random, so that an eigenvalue
            that rises outside the block is noticed.
        seed: for the random directions.
    """

    k: int = 1
    rtol: float = 1e-3
    max_hvps: int = 48
    block: int = 4
    every: int = 1
    explore: int = 8
    seed: int = 0

    def __check_init__(self) -> None:
        for name in ("k", "block", "every", "explore", "max_hvps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a Sharpness probe is {getattr(self, name)}: it must be at least 1.")
        if not self.rtol > 0:
            raise ValueError(f"rtol of a Sharpness probe is {self.rtol}: it must be positive.")

    def init(self, point: Linearization) -> _State | None:
        """The block at the start of a trajectory, from a cold solve."""
        p, dtype = point.gradient.size, point.gradient.dtype
        if self.k > p:
            raise ValueError(f"k of a Sharpness probe is {self.k}, but params has {p} entries.")
        if p <= DENSE:
            return None
        b = min(max(self.block, self.k + 1), p // 4)
        key, cold_key, explorer_key = jax.random.split(jax.random.key(self.seed), 3)
        if p <= max(256, 16 * b):
            cold = dense_spectrum(point.product, p, b, self.rtol, dtype)
        else:
            cold = lanczos(
                point.product, p, self.k, self.rtol, 2000, cold_key, dtype, guess=point.gradient, extra=b - self.k
            )
        explorer = jax.random.normal(explorer_key, (p,), dtype)
        wanted, zero = cold.vectors[: self.k], jnp.zeros((), dtype)
        still = jnp.zeros_like(wanted)
        return _State(cold.vectors, cold.values, jnp.ones(b, dtype), wanted, still, explorer, zero, jnp.asarray(0), key)

    def measure(self, point: Linearization, state: _State | None) -> tuple[Track, _State | None]:
        """Values at a point, and the state for the next one."""
        p, dtype = point.gradient.size, point.gradient.dtype
        if state is None:
            spectrum = dense_spectrum(point.product, p, self.k, self.rtol, dtype)
            age = jnp.zeros(self.k, dtype)
            values, errors = spectrum.values, spectrum.errors
            return Track(values, errors, errors, spectrum.converged, spectrum.hvps, values, age), None

        b = len(state.vectors)
        exploring = state.step % self.explore == self.explore - 1
        space = _start(point, state, self.k, b + WORK, exploring)
        change = jnp.abs(_sorted_eigh(space.projected, space.fresh)[0][0] - state.values[0])
        drift = jnp.maximum(change, 0.8 * state.drift)

        def unmet(carry: tuple[_Space, _Estimate]) -> Bool[Array, ""]:
            space, estimate = carry
            return ~estimate.met & (space.hvps < self.max_hvps) & jnp.isfinite(estimate.errors).all()

        def unmet_with_room(carry: tuple[_Space, _Estimate]) -> Bool[Array, ""]:
            return unmet(carry) & (carry[0].filled < b + WORK)

        def expand(carry: tuple[_Space, _Estimate]) -> tuple[_Space, _Estimate]:
            space = _multiply(point, *carry, b)
            return space, self._estimate(space, drift, b)

        def restart(carry: tuple[_Space, _Estimate]) -> tuple[_Space, _Estimate]:
            space = _compress(carry[0], b)
            return jax.lax.while_loop(unmet_with_room, expand, (space, self._estimate(space, drift, b)))

        carry = jax.lax.while_loop(unmet_with_room, expand, (space, self._estimate(space, drift, b)))
        space, estimate = jax.lax.while_loop(unmet, restart, carry)
        state = _carry(space, state, drift, exploring)
        return (
            Track(
                estimate.values,
                estimate.errors,
                estimate.residuals,
                estimate.met & jnp.isfinite(point.loss),
                space.hvps,
                state.values,
                state.ages - 1,
            ),
            state,
        )

    def _estimate(self, space: _Space, drift: Float[Array, ""], b: int) -> _Estimate:
        k, c = self.k, len(space.basis)
        live = jnp.arange(c) < space.filled
        stale = live & ~space.fresh
        values, y = _sorted_eigh(space.projected, space.fresh)
        values, y = values[:k], y[:, :k].T
        coupling = jnp.where(stale, y @ space.projected, 0)
        outside = y @ space.images - (values[:, None] * y + coupling) @ space.basis
        outside_norms = jnp.linalg.norm(outside, axis=1)
        residuals = jnp.sqrt(outside_norms**2 + jnp.sum(coupling**2, axis=1))

        allowance = jnp.where(stale, drift * space.ages, 0)
        promised, z = _sorted_eigh(space.projected + jnp.diag(allowance), live)
        gain_inside = jnp.maximum(promised[:k] - values, 0)
        gap = jnp.maximum(values - promised[b - 1], 0)
        gain_outside = trusted_error(outside_norms, gap)
        errors = gain_inside + gain_outside
        scale = jnp.abs(space.projected).max()
        tolerance = self.rtol * jnp.abs(values) + 10 * jnp.finfo(values.dtype).eps * scale
        worst = jnp.argmax(errors / tolerance)
        direction = jnp.where(stale, z[:, worst], 0)
        return _Estimate(
            values,
            errors,
            residuals,
            worst,
            direction / jnp.linalg.norm(direction),
            outside[worst],
            gain_inside[worst] > gain_outside[worst],
            (errors <= tolerance).all(),
        )


def _sorted_eigh(matrix: Float[Array, "c c"], mask: Bool[Array, " c"]) -> tuple[Array, Array]:
    """Eigenpairs of the masked rows and columns, descending; the others' come last."""
    matrix = jnp.where(mask[:, None] & mask, matrix, 0)
    floor = -2 * jnp.abs(matrix).sum(1).max() - 1
    values, vectors = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(mask, 0, floor)), symmetrize_input=False)
    return values[::-1], vectors[:, ::-1]


def _start(point: Linearization, state: _State, k: int, c: int, exploring: Bool[Array, ""]) -> _Space:
    """The carried rows, of which the wanted ones are multiplied, and with them the one with the oldest product or the explorer."""
    b, p = state.vectors.shape
    dtype = state.vectors.dtype
    explorer = _orthogonal(state.explorer, state.vectors)
    chosen = jnp.append(jnp.arange(k), jnp.where(exploring, b, k + jnp.argmax(state.ages[k:])))
    basis = jnp.concatenate([state.vectors, explorer[None], jnp.zeros((c - b - 1, p), dtype)])
    images = block_product(point.product, basis[chosen])
    rows = basis @ images.T
    projected = jnp.zeros((c, c), dtype).at[:b, :b].set(jnp.diag(state.values))
    projected = projected.at[:, chosen].set(rows).at[chosen, :].set(rows.T)
    middle = rows[chosen]
    projected = projected.at[jnp.ix_(chosen, chosen)].set((middle + middle.T) / 2)
    return _Space(
        basis.at[b].multiply(exploring),
        jnp.zeros((c, p), dtype).at[chosen].set(images),
        projected,
        jnp.zeros(c, bool).at[chosen].set(True),
        jnp.zeros(c, dtype).at[:b].set(state.ages).at[chosen].set(0),
        b + exploring.astype(int),
        jnp.asarray(k + 1),
    )


def _orthogonal(vector: Float[Array, " p"], basis: Float[Array, "c p"]) -> Float[Array, " p"]:
    """The normalized part of a vector outside orthonormal rows (zero rows do no harm)."""
    vector = vector / jnp.linalg.norm(vector)
    vector = vector - (basis @ vector) @ basis
    return vector / jnp.linalg.norm(vector)


def _multiply(point: Linearization, space: _Space, estimate: _Estimate, b: int) -> _Space:
    """One product where the estimate promises most: a combination of stale rows, or a new row outside the space."""
    inside = estimate.go_inside
    # A reflection among the stale rows brings the promising combination into one of them. Written for both cases without
    # a branch, which would copy the space.
    turned = jnp.argmax(jnp.abs(estimate.inside))
    normal = (estimate.inside * jnp.where(estimate.inside[turned] < 0, 1, -1)).at[turned].add(-1)
    length = normal @ normal
    normal = jnp.where(inside & (length > 0), normal / jnp.sqrt(jnp.where(length > 0, length, 1)), 0)
    reflection = jnp.eye(len(normal), dtype=normal.dtype) - 2 * jnp.outer(normal, normal)
    block = space.basis[:b]  # every stale row is one of the carried ones
    basis = space.basis.at[:b].set(block - 2 * normal[:b, None] * (normal[:b] @ block))
    projected = reflection @ space.projected @ reflection
    ages = jnp.where(space.fresh, space.ages, reflection**2 @ space.ages)

    row = jnp.where(inside, turned, space.filled)
    vector = jnp.where(inside, basis[turned], _orthogonal(estimate.outside, basis))
    image = point.product(vector)
    basis = jax.lax.dynamic_update_slice(basis, vector[None], (row, 0))
    entries = basis @ image
    projected = jax.lax.dynamic_update_slice(projected, entries[:, None], (0, row))
    projected = jax.lax.dynamic_update_slice(projected, entries[None, :], (row, 0))
    return _Space(
        basis,
        jax.lax.dynamic_update_slice(space.images, image[None], (row, 0)),
        projected,
        space.fresh.at[row].set(True),
        ages.at[row].set(0),
        space.filled + ~inside,
        space.hvps + 1,
    )


def _compress(space: _Space, b: int) -> _Space:
    """Only the b largest fresh Ritz pairs, when the space is full."""
    c = len(space.basis)
    values, y = _sorted_eigh(space.projected, space.fresh)
    keep = jnp.where(jnp.arange(c) < jnp.minimum(b, space.fresh.sum()), y, 0).T
    kept = jnp.arange(c) < jnp.minimum(b, space.fresh.sum())
    return space._replace(
        basis=keep @ space.basis,
        images=keep @ space.images,
        projected=jnp.diag(jnp.where(kept, values, 0)),
        fresh=kept,
        ages=jnp.zeros_like(space.ages),
        filled=kept.sum(),
    )


def _carry(space: _Space, state: _State, drift: Float[Array, ""], explored: Bool[Array, ""]) -> _State:
    """The block for the next step: the largest Ritz vectors over fresh and stale rows together."""
    c, b = len(space.basis), len(state.vectors)
    live = jnp.arange(c) < space.filled
    values, z = _sorted_eigh(space.projected, live)
    z = z[:, :b].T
    ages = z**2 @ space.ages + 1
    # What fresh products have outside the space corrects their vectors for the next step, at no cost: a power step.
    step = jnp.where(space.fresh, z, 0) * jnp.where(values[0] > 0, 1 / values[0], 0)
    vectors = (z - step @ space.projected) @ space.basis + step @ space.images
    vectors = _orthonormal(vectors)
    wanted, motion, predicted = _predict(vectors, state)

    def advance(key: PRNGKeyArray) -> Float[Array, " p"]:
        # A shifted power step, since the negative end of the spectrum must not win, and a little chance.
        x, image = space.basis[b], space.images[b]
        x = image + values[0] / 2 * x
        x = _orthogonal(x, vectors)
        chance = jax.random.normal(key, x.shape, x.dtype)
        return x + 0.1 * chance / jnp.linalg.norm(chance)

    key, chance_key = jax.random.split(state.key)
    explorer = jax.lax.cond(explored, advance, lambda _: state.explorer, chance_key)
    return _State(predicted, values[:b], ages, wanted, motion, explorer, drift, state.step + 1, key)


def _orthonormal(vectors: Float[Array, "b p"]) -> Float[Array, "b p"]:
    """Gram-Schmidt on nearly orthonormal rows."""
    triangle = jnp.linalg.cholesky(vectors @ vectors.T)
    return (
        jax.scipy.linalg.solve_triangular(triangle, jnp.eye(len(vectors), dtype=triangle.dtype), lower=True) @ vectors
    )


def _predict(vectors: Float[Array, "b p"], state: _State) -> tuple[Array, Array, Array]:
    """The wanted vectors, their displacement, and the block in which they are moved on by what the last two tell.

    At the edge of stability the iterates jump to and fro across a valley, and the eigenvectors with them: the displacement
    of a step is minus that of the step before; along a smooth path it is the same again. The factor is fitted. Only
    displacements outside the block matter, for inside it the projected matrix is solved anyway.
    """
    k = len(state.wanted)
    wanted = vectors[:k]
    overlap = wanted @ state.wanted.T  # also aligns signs
    before = overlap @ state.wanted
    motion = (before @ vectors.T) @ vectors - before
    last = overlap @ state.motion
    length = jnp.sum(last**2, axis=1)
    factor = jnp.where(length > 0, jnp.sum(motion * last, axis=1) / jnp.where(length > 0, length, 1), 0)
    moved = vectors.at[:k].add(jnp.clip(factor, -1, 1)[:, None] * motion)
    return wanted, motion, _orthonormal(moved)
