"""Following the largest eigenvalues of a Hessian along a trajectory: a probe for `eosbench.train`.

A Davidson iteration whose search space is carried from step to step, for the Hessian changes little in a step. At each
step, with the block of vectors from the step before:

1. The wanted vectors, and the one other whose product is the oldest, are multiplied by the new Hessian: they are
   *fresh*, the others *stale*.
2. The projected matrix has new entries wherever one of the two vectors is fresh, by symmetry. Entries between stale
   vectors stay what they were, and may by now be off by an *allowance*: how fast fresh entries were seen to change (the
   *drift*), times their age.
3. Ritz values come from fresh vectors alone. What a further product might raise them by is *promised* in two places:
   *inside*, by a combination of stale vectors, if their entries grew by the allowance; and *outside*, by the part of
   the residual that lies outside the space.
4. The next product goes where more is promised, until what is promised for each wanted value is within the tolerance.
5. The largest Ritz vectors over fresh and stale together are the next block, the wanted ones moved on by what the last
   two steps tell. The last vector of the block is the *explorer*: power steps and a little chance, by which it sees an
   eigenvalue that rises from outside.

Beside LOBPCG, which also improves a block by a search space of residuals: vectors keep their entries of the projected
matrix although the matrix has changed since, products are given one at a time to where they are needed, and the
direction of the last step is not a column of the space but a prediction.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eosbench.curvature._arguments import as_integer, as_tolerance, as_traceable_integer
from eosbench.curvature._bounds import are_simple, rounding, tolerance, trusted_error
from eosbench.curvature._dense import dense_spectrum
from eosbench.curvature._lanczos import MAX_HVPS, dense_limit, lanczos
from eosbench.curvature._perturbation import moving
from eosbench.curvature._point import Point, block_product
from eosbench.curvature._shown import as_html, has_numbers, with_errors
from eosbench.curvature._unit import binary_unit
from eosbench.probes._search_space import Space, compress, multiply, orthogonal, orthonormal, sorted_eigh

DENSE = 64
"""Up to this many parameters, or a few for each vector carried, every step solves the whole matrix."""

CHANCE = 0.1
"""Share of a random direction in the explorer after each of its products."""

DECAY = 0.8
"""How slowly the allowance for stale entries forgets a fast change."""

WORK = 4
"""Rows of the search space beyond the block; it is compressed to the block when they are full."""


class Track(NamedTuple):
    """What the probe records at a step; `Run.probes[name]` stacks them along a leading axis of measurements.

    Attributes:
        values: the k largest eigenvalues, descending, shape (k,): Ritz values over vectors multiplied in this step, so
            lower bounds up to the rounding of a product.
        errors: estimates of how far each lies below its eigenvalue, shape (k,).
        residuals: norms of H u - value u, shape (k,): some eigenvalue lies that near.
        converged: whether errors <= rtol |value| + a few eps norm(H) for all k, scalar.
        hvps: Hessian-vector products spent in this step, scalar.
        block: Ritz values of all carried vectors, shape (block,), the first k of them close to `values`.
        ages: how many steps ago the products were taken that each of `block` rests on, weighted, shape (block,); 0 is
            fresh.
    """

    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    residuals: Float[Array, " k"]
    converged: Bool[Array, ""]
    hvps: Int[Array, ""]
    block: Float[Array, " b"]
    ages: Float[Array, " b"]

    def __repr__(self) -> str:
        """The last measurement of those that are stacked here, and how many of them converged, at what cost."""
        if not has_numbers(*self) or self.values.ndim not in (1, 2):
            return f"Track(values={self.values}, ...)"
        if self.values.ndim == 1:
            ended = "converged" if bool(self.converged) else "not converged"
            return f"Track({with_errors(self.values, self.errors)}; {int(self.hvps)} products, {ended})"
        n = len(self.values)
        if n == 0:
            return "Track(no measurement)"
        share, mean = float(np.mean(self.converged)), float(np.mean(self.hvps))
        last = with_errors(self.values[-1], self.errors[-1])
        return f"Track({n} measurements, the last {last}; {mean:.3g} products each, {share:.0%} converged)"

    def _repr_html_(self) -> str:
        return as_html(repr(self))


class _State(NamedTuple):
    vectors: Float[Array, "b+1 p"]  # the last one is the explorer
    values: Float[Array, " b+1"]
    ages: Float[Array, " b+1"]
    wanted: Float[Array, "k p"]  # the wanted vectors as found; those in `vectors` are a prediction of the next ones
    motion: Float[Array, "k p"]  # their last displacement outside the block
    drift: Float[Array, ""]  # how much a value changes in a step, a decaying maximum
    key: PRNGKeyArray

    def times(self, unit: Float[Array, ""]) -> "_State":
        return self._replace(values=unit * self.values, drift=unit * self.drift)


class _Estimate(NamedTuple):
    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    residuals: Float[Array, " k"]
    inside: Float[Array, " c"]  # the stale combination that promises most for the worst value
    outside: Float[Array, " p"]  # the part of its residual outside the space
    go_inside: Bool[Array, ""]
    met: Bool[Array, ""]


def _named(check: Callable, name: str, **options: Any) -> Callable[[Any], Any]:
    return partial(check, f"{name} of a Sharpness probe", **options)


class Sharpness(eqx.Module):
    """A probe that measures the k largest Hessian eigenvalues along training, warm from the measurement before.

    Training may be differentiated through; of what the probe records, `values` have a derivative, as in `sharpness`.

    Attributes:
        k: how many values must meet the tolerance.
        rtol: tolerance of the error estimates relative to each value, between 0 and 1.
        max_hvps: most products in one step, of which k + 1 are always spent; where they do not suffice, the step is
            marked as not converged.
        block: vectors carried from step to step, at least k; several eigenvalues sit together at the edge of stability.
        seed: for the random directions.
    """

    k: int = eqx.field(default=1, converter=_named(as_integer, "k"))
    rtol: float = eqx.field(default=1e-3, converter=_named(as_tolerance, "rtol"))
    max_hvps: int = eqx.field(default=48, converter=_named(as_integer, "max_hvps"))
    block: int = eqx.field(default=4, converter=_named(as_integer, "block"))
    seed: int = eqx.field(default=0, converter=_named(as_traceable_integer, "seed", at_least=None))

    def init(self, point: Point) -> _State | None:
        """The block at the start of a trajectory, from a cold solve."""
        product, gradient = jax.lax.stop_gradient((point.product, point.gradient))
        p, dtype = gradient.size, gradient.dtype
        if self.k > p:
            raise ValueError(f"k of a Sharpness probe is {self.k}, but params has {p} entries.")
        b = max(self.block, self.k + 1)
        if p <= max(DENSE, 8 * (b + 1)):
            return None
        key, cold_key = jax.random.split(jax.random.key(self.seed))
        if p <= dense_limit(self.k):
            cold = dense_spectrum(product, p, b + 1, self.rtol, dtype)
        else:
            extra = b + 1 - self.k
            cold = lanczos(product, p, self.k, self.rtol, MAX_HVPS, cold_key, dtype, guess=gradient, extra=extra)
        wanted, ages, zero = cold.vectors[: self.k], jnp.ones(b + 1, dtype), jnp.zeros((), dtype)
        still = jnp.zeros_like(wanted)
        return _State(
            vectors=cold.vectors,
            values=cold.values,
            ages=ages,
            wanted=wanted,
            motion=still,
            drift=zero,
            key=key,
        )

    def measure(self, point: Point, state: _State | None) -> tuple[Track, _State | None]:
        """Values at a point, and the state for the next one."""
        track, _, state = self.eigenpairs(point, state)
        return track, state

    def eigenpairs(self, point: Point, state: _State | None) -> tuple[Track, Float[Array, "k p"], _State | None]:
        """What `measure` returns, and between the two the eigenvectors, for a probe that needs them.

        They are orthonormal rows, flat as the gradient of the point, of either sign, and off by about residual/gap. In
        a derivative they count as fixed.
        """
        still = jax.lax.stop_gradient(point.product)
        p, dtype = point.gradient.size, point.gradient.dtype
        # A formula can have a finite second derivative where it has no value: x log x at -1.
        finite = jnp.isfinite(point.loss) & jnp.isfinite(point.gradient).all()
        if state is None:
            spectrum = dense_spectrum(still, p, self.k, self.rtol, dtype)
            age = jnp.zeros(self.k, dtype)
            values, errors = spectrum.values, spectrum.errors
            track = Track(
                values=values,
                errors=errors,
                residuals=errors,
                converged=spectrum.converged & finite,
                hvps=spectrum.hvps,
                block=values,
                ages=age,
            )
            return moving(track, point.product, spectrum.vectors, spectrum.simple), spectrum.vectors, None

        b = len(state.vectors)
        room = b + max(WORK, b - self.k - 1)  # so that a full space has b fresh rows
        # The wanted rows and the one with the oldest product are multiplied together.
        chosen = jnp.append(jnp.arange(self.k), self.k + jnp.argmax(state.ages[self.k :]))
        images = block_product(still, state.vectors[chosen])
        unit = binary_unit(images)
        state = state.times(1 / unit)
        space = _start(state, chosen, images / unit, room)
        # How fast the matrix changes, seen in the rows that were just renewed. Whole rows, for one entry can stay what
        # it was by chance; but for the explorer, which moves by itself.
        moved = (space.projected[:b, :b] - jnp.diag(state.values))[:-1, :-1]
        change = jnp.linalg.norm(moved, axis=1) / state.ages[:-1]
        drift = jnp.maximum(jnp.where(space.fresh[: b - 1], change, 0).max(), DECAY * state.drift)

        def product(vector: Float[Array, " p"]) -> Float[Array, " p"]:
            return still(vector) / unit

        def unmet(carry: tuple[Space, _Estimate]) -> Bool[Array, ""]:
            space, estimate = carry
            return ~estimate.met & (space.hvps < self.max_hvps) & jnp.isfinite(estimate.errors).all()

        def unmet_with_room(carry: tuple[Space, _Estimate]) -> Bool[Array, ""]:
            return unmet(carry) & (carry[0].filled < room)

        def expand(carry: tuple[Space, _Estimate]) -> tuple[Space, _Estimate]:
            space, estimate = carry
            space = multiply(product, space, b, estimate.go_inside, estimate.inside, estimate.outside)
            return space, self._estimate(space, drift, b)

        def restart(carry: tuple[Space, _Estimate]) -> tuple[Space, _Estimate]:
            space = compress(carry[0], b)
            return jax.lax.while_loop(unmet_with_room, expand, (space, self._estimate(space, drift, b)))

        carry = jax.lax.while_loop(unmet_with_room, expand, (space, self._estimate(space, drift, b)))
        space, estimate = jax.lax.while_loop(unmet, restart, carry)
        state = _carry(space, state, drift).times(unit)
        track = Track(
            values=unit * estimate.values,
            errors=unit * estimate.errors,
            residuals=unit * estimate.residuals,
            converged=estimate.met & finite,
            hvps=space.hvps,
            block=state.values[:-1],
            ages=state.ages[:-1] - 1,
        )
        # Where neither they nor a derivative are asked for, the compiler leaves them out.
        vectors = sorted_eigh(space.projected, space.fresh)[1][:, : self.k].T @ space.basis
        unseen = rounding(jnp.abs(state.values).max(), dtype)
        simple = are_simple(jnp.append(track.values, state.values[self.k]), track.residuals, unseen)
        return moving(track, point.product, vectors, simple), vectors, state

    def _estimate(self, space: Space, drift: Float[Array, ""], b: int) -> _Estimate:
        k, c = self.k, len(space.basis)
        live = jnp.arange(c) < space.filled
        stale = live & ~space.fresh
        values, y = sorted_eigh(space.projected, space.fresh)
        values, y = values[:k], y[:, :k].T
        coupling = jnp.where(stale[None, :], y @ space.projected, 0)
        outside = y @ space.images - (values[:, None] * y + coupling) @ space.basis
        outside_norms = jnp.linalg.norm(outside, axis=1)
        residuals = jnp.sqrt(outside_norms**2 + jnp.sum(coupling**2, axis=1))

        allowance = jnp.where(stale, drift * space.ages, 0)
        promised, z = sorted_eigh(space.projected + jnp.diag(allowance), live)
        gain_inside = jnp.maximum(promised[:k] - values, 0)
        gap = jnp.maximum(values - promised[b - 2], 0)
        gain_outside = trusted_error(outside_norms, gap)
        errors = gain_inside + gain_outside
        accepted = tolerance(values, self.rtol, rounding(jnp.abs(space.projected).max(), values.dtype))
        worst = jnp.argmax(errors / accepted)
        direction = jnp.where(stale, z[:, worst], 0)
        return _Estimate(
            values=values,
            errors=errors,
            residuals=residuals,
            inside=direction / jnp.linalg.norm(direction),
            outside=outside[worst],
            go_inside=gain_inside[worst] > gain_outside[worst],
            met=(errors <= accepted).all(),
        )


def _start(state: _State, chosen: Int[Array, " f"], images: Float[Array, "f p"], c: int) -> Space:
    """The carried rows, of which the chosen ones were multiplied."""
    b, p = state.vectors.shape
    dtype = state.vectors.dtype
    basis = jnp.concatenate([state.vectors, jnp.zeros((c - b, p), dtype)])
    rows = basis @ images.T
    projected = jnp.zeros((c, c), dtype).at[:b, :b].set(jnp.diag(state.values))
    projected = projected.at[:, chosen].set(rows).at[chosen, :].set(rows.T)
    middle = rows[chosen]
    projected = projected.at[jnp.ix_(chosen, chosen)].set((middle + middle.T) / 2)
    return Space(
        basis=basis,
        images=jnp.zeros((c, p), dtype).at[chosen].set(images),
        projected=projected,
        fresh=jnp.zeros(c, bool).at[chosen].set(True),
        ages=jnp.zeros(c, dtype).at[:b].set(state.ages).at[chosen].set(0),
        filled=jnp.asarray(b),
        hvps=jnp.asarray(len(images)),
    )


def _carry(space: Space, state: _State, drift: Float[Array, ""]) -> _State:
    """The block for the next step: the largest Ritz vectors over fresh and stale rows together."""
    c, b = len(space.basis), len(state.vectors)
    live = jnp.arange(c) < space.filled
    values, z = sorted_eigh(space.projected, live)
    z = z[:, :b].T
    ages = z**2 @ space.ages + 1
    # What fresh products have outside the space corrects their vectors for the next step, at no cost: a power step.
    step = jnp.where(space.fresh[None, :], z, 0) * jnp.where(values[0] > 0, 1 / values[0], 0)
    vectors = (z - step @ space.projected) @ space.basis + step @ space.images
    vectors = orthonormal(vectors)
    wanted, motion, predicted = _predict(vectors, state)

    # The explorer's power steps find what rises from outside the block; a little chance keeps them from settling.
    key, chance_key = jax.random.split(state.key)

    def disturb(row: Float[Array, " p"]) -> Float[Array, " p"]:
        chance = jax.random.normal(chance_key, row.shape, row.dtype)
        return orthogonal(row + CHANCE * chance / jnp.linalg.norm(chance), predicted[:-1])

    last = jax.lax.cond(ages[-1] < 1.5, disturb, lambda row: row, predicted[-1])
    predicted = predicted.at[-1].set(last)
    return _State(
        vectors=predicted,
        values=values[:b],
        ages=ages,
        wanted=wanted,
        motion=motion,
        drift=drift,
        key=key,
    )


def _predict(vectors: Float[Array, "b p"], state: _State) -> tuple[Array, Array, Array]:
    """The wanted vectors, their displacement, and the block in which they are moved on by what the last two tell.

    At the edge of stability the iterates jump to and fro across a valley, and the eigenvectors with them: the
    displacement of a step is minus that of the step before; along a smooth path it is the same again. The factor is
    fitted. Only displacements outside the block matter, for inside it the projected matrix is solved anyway.
    """
    k = len(state.wanted)
    wanted = vectors[:k]
    overlap = wanted @ state.wanted.T  # also aligns signs
    before = overlap @ state.wanted
    # Divided so that the vectors before are the wanted ones minus this: tangents, not sines, of the angles between.
    squares = jnp.sum(overlap**2, axis=1, keepdims=True)
    motion = jnp.where(squares > 0.25, ((before @ vectors.T) @ vectors - before) / squares, 0)
    last = overlap @ state.motion
    length = jnp.sum(last**2, axis=1)
    factor = jnp.where(length > 0, jnp.sum(motion * last, axis=1) / jnp.where(length > 0, length, 1), 0)
    moved = vectors.at[:k].add(jnp.clip(factor, -1, 1)[:, None] * motion)
    return wanted, motion, orthonormal(moved)
