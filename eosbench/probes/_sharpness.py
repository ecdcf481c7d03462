"""Following the largest eigenvalues of a Hessian along a trajectory: a probe for `eosbench.train`.

A Davidson iteration whose search space is carried from step to step, for the Hessian changes little in a step. At each
step, with the block of vectors from the step before:

1. The largest vector is multiplied by the new Hessian, which makes it *fresh*; the others are *stale*.
2. The projected matrix has new entries wherever one of the two vectors is fresh, by symmetry. Entries between stale
   vectors stay what they were, and may by now be off by an *allowance*: how fast renewed rows were seen to change (the
   *drift*), times their age.
3. Ritz values come from fresh and stale vectors together. Each may be off in two ways: *inside* the space, by what the
   allowance would change; and *outside*, by the part of the residual that lies outside the space, which is known of
   fresh vectors, and of stale ones is what it was when they were multiplied (their *reach*).
4. The next product goes where more can be off, to a stale vector or to a residual, until each error is accepted: for
   the wanted values within the tolerance, and for the others below what would make them one of the wanted. For what is
   missed otherwise is not a digit but a crossing.
5. The largest Ritz vectors are the next block, the wanted ones moved on by what the last two steps tell. The last
   vector of the block is the *explorer*: power steps and a little chance, by which it sees an eigenvalue that rises
   from outside. It is multiplied every few steps.

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
from eosbench.curvature._lanczos import dense_limit, lanczos
from eosbench.curvature._layout import Layout
from eosbench.curvature._perturbation import moving
from eosbench.curvature._point import Point
from eosbench.curvature._shown import as_html, has_numbers, with_errors
from eosbench.curvature._unit import binary_unit
from eosbench.probes._search_space import Space, compress, eigenpairs, multiply, orthogonal, orthonormal

DENSE = 64
"""Up to this many parameters, or a few for each vector carried, every step solves the whole matrix."""

CHANCE = 0.1
"""Share of a random direction in the explorer after each of its products."""

EXPLORE = 4
"""Steps after which the explorer is multiplied again."""

RENEW = 10
"""Steps after which any other vector is, for a mixture of two may be on its way to one that rises."""

TRUST = 8
"""An error is never taken to be below the norm of what the product has outside the space, divided by this. It is 3 in a
cold solve, where a small residual may be that of the wrong vector; here the vector was the right one a step ago."""

MARGIN = 1.5
"""A value that is not wanted is taken to rise by up to the norm of what its product has outside, divided by this."""

ROOM = 4
"""Rows of the search space beyond those that are carried; the fresh ones are compressed when they are full."""

START_HVPS = 32
"""Products of the cold solve at the start at most, for each vector carried."""


class Track(NamedTuple):
    """What the probe records at a step; `Run.probes[name]` stacks them along a leading axis of measurements.

    Attributes:
        values: the k largest eigenvalues, descending, shape (k,): Ritz values over vectors of which some, and always
            the one that led at the step before, were multiplied in this step.
        errors: estimates of how far each is from its eigenvalue, shape (k,).
        residuals: norms of H u - value u, shape (k,), estimated where u rests on earlier products.
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
    vectors: Float[Array, "b p"]  # the last one is the explorer
    values: Float[Array, " b"]
    ages: Float[Array, " b"]
    reach: Float[Array, " b"]
    drift: Float[Array, " b"]
    spread: Float[Array, ""]
    wanted: Float[Array, "k p"]  # the wanted vectors as found; those in `vectors` are a prediction of the next ones
    motion: Float[Array, "k p"]  # their last displacement outside the block
    key: PRNGKeyArray

    def times(self, unit: Float[Array, ""]) -> "_State":
        scaled = {name: unit * getattr(self, name) for name in ("values", "reach", "drift", "spread")}
        return self._replace(**scaled)


class _Estimate(NamedTuple):
    values: Float[Array, " c"]  # Ritz values over all rows, descending
    ritz: Float[Array, "c c"]  # their vectors in the basis, as rows
    errors: Float[Array, " b"]
    residuals: Float[Array, " b"]
    row: Int[Array, ""]  # the stale one that matters most for the worst of the values
    direction: Float[Array, " p"]  # what its products have outside the space
    renew: Bool[Array, ""]  # whether the row promises more than the direction
    met: Bool[Array, ""]
    stuck: Bool[Array, ""]  # whether there is nothing to multiply


def _named(check: Callable, name: str, **options: Any) -> Callable[[Any], Any]:
    return partial(check, f"{name} of a Sharpness probe", **options)


class Sharpness(eqx.Module):
    """A probe that measures the k largest Hessian eigenvalues along training, warm from the measurement before.

    An eigenvalue that rises outside the vectors that are carried, and shares no direction with them, is seen by the
    explorer alone, and perhaps tens of steps late: as in a loss that is a sum over separate networks. A larger `block`
    sees more; `sharpness` at some of the points tells.

    Training may be differentiated through; of what the probe records, `values` have a derivative, as in `sharpness`.

    Attributes:
        k: how many values must meet the tolerance.
        rtol: tolerance of the error estimates relative to each value, between 0 and 1.
        max_hvps: most products in one step, of which one is always spent; where they do not suffice, the step is
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
        layout, p, dtype = point.layout, point.layout.p, gradient.dtype
        if self.k > p:
            raise ValueError(f"k of a Sharpness probe is {self.k}, but params has {p} entries.")
        b = max(self.block, self.k + 1)
        if p <= max(DENSE, 8 * (b + 1)):
            return None
        key, cold_key = jax.random.split(jax.random.key(self.seed))
        if p <= dense_limit(self.k):
            cold = dense_spectrum(product, p, b + 1, self.rtol, dtype, layout)
        else:
            # All that are carried have to be right, not the wanted ones alone, for one of them may be the next to lead.
            budget = START_HVPS * b
            cold = lanczos(
                product, p, b, 2 * self.rtol, budget, cold_key, dtype, guess=gradient, extra=1, layout=layout
            )
        wanted, ages = cold.vectors[: self.k], jnp.ones(b + 1, dtype)
        return _State(
            vectors=cold.vectors,
            values=cold.values,
            ages=ages,
            reach=0 * ages,
            drift=0 * ages,
            spread=jnp.zeros((), dtype),
            wanted=wanted,
            motion=jnp.zeros_like(wanted),
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
        layout, p, dtype = point.layout, point.layout.p, point.gradient.dtype
        # A formula can have a finite second derivative where it has no value: x log x at -1.
        finite = jnp.isfinite(point.loss) & jnp.isfinite(point.gradient).all()
        if state is None:
            spectrum = dense_spectrum(still, p, self.k, self.rtol, dtype, layout)
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
        unit = binary_unit(state.values)
        state = state.times(1 / unit)
        overdue = state.ages / jnp.full(b, RENEW, dtype).at[-1].set(EXPLORE)
        oldest = jnp.argmax(overdue)
        due = overdue[oldest] >= 1

        def product(vector: Float[Array, " p"]) -> Float[Array, " p"]:
            return still(vector) / unit

        def renews(space: Space) -> Bool[Array, ""]:
            return (space.hvps == 1) & due & (oldest > 0)

        def unfinished(carry: tuple[Space, _Estimate]) -> Bool[Array, ""]:
            space, estimate = carry
            unmet = renews(space) | (~estimate.met & ~estimate.stuck & jnp.isfinite(estimate.errors).all())
            return (space.hvps == 0) | (unmet & (space.hvps < self.max_hvps))

        def is_full(space: Space) -> Bool[Array, ""]:
            return space.filled == len(space.basis)

        def expand(carry: tuple[Space, _Estimate]) -> tuple[Space, _Estimate]:
            space, estimate = carry
            space = jax.lax.while_loop(is_full, lambda space: compress(space, b), space)  # once, if at all
            first = space.hvps == 0
            row = jnp.where(first, 0, jnp.where(renews(space), oldest, estimate.row))
            renew = first | renews(space) | estimate.renew
            space = multiply(product, space, b, renew, row, estimate.direction)
            return space, self._estimate(space, b)

        space = _start(state, layout)
        blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: self._estimate(space, b)))
        space, estimate = jax.lax.while_loop(unfinished, expand, (space, blank))
        # Where nothing could be measured the memory stays, for the next point may be finite again.
        after = _carry(space, estimate, state, layout)
        usable = jnp.isfinite(estimate.errors).all() & jnp.isfinite(after.vectors).all()
        state = jax.tree.map(lambda new, old: jnp.where(usable, new, old), after, state).times(unit)
        track = Track(
            values=unit * estimate.values[: self.k],
            errors=unit * estimate.errors[: self.k],
            residuals=unit * estimate.residuals[: self.k],
            converged=estimate.met & finite,
            hvps=space.hvps,
            block=state.values[:-1],
            ages=state.ages[:-1] - 1,
        )
        # Where neither they nor a derivative are asked for, the compiler leaves them out.
        vectors = estimate.ritz[: self.k] @ space.basis
        unseen = rounding(jnp.abs(state.values).max(), dtype)
        simple = are_simple(jnp.append(track.values, state.values[self.k]), track.residuals, unseen)
        return moving(track, point.product, vectors, simple), vectors, state

    def _estimate(self, space: Space, b: int) -> _Estimate:
        """What each carried value may be off by, and where the next product goes."""
        k, stale = self.k, space.live & ~space.fresh
        drift = jnp.where(jnp.arange(len(stale)) == b - 1, 0, space.drift).max()
        allowance = jnp.where(stale, drift * space.ages, 0)
        matrices = jnp.stack([space.projected, space.projected + jnp.diag(allowance)])
        (values, promised), (ritz, promising) = eigenpairs(matrices, jnp.stack([space.live, space.live]))
        found, top = ritz[:b], values[:b]
        inside = jnp.maximum(promised - values, 0)[:b]

        fresh_part = jnp.where(space.fresh, found, 0)
        known = space.norms_outside(fresh_part)
        # What lay outside may have grown since. For the wanted ones that counts; with it for the others too, twice as
        # many products would be spent where no crossing was near.
        wanted = jnp.arange(b) < k
        reach = space.reach[None, :] + jnp.where(wanted, space.spread, 0)[:, None] * space.ages[None, :]
        unknown = jnp.sqrt(jnp.sum(jnp.where(stale, found * reach, 0) ** 2, axis=1))
        outside = jnp.sqrt(known**2 + unknown**2)
        gap = jnp.maximum(top - promised[b - 2], 0)
        accepted = tolerance(top, self.rtol, rounding(jnp.abs(space.projected).max(), values.dtype))
        # One that is not wanted may be off as long as it could not become one that is; the last is no eigenvector.
        beyond = (outside / MARGIN).at[-1].set(0)
        errors = inside + jnp.where(wanted, trusted_error(outside, gap, TRUST), beyond)
        accepted = jnp.where(wanted, accepted, accepted[k - 1] + top[k - 1] - top)
        worst = jnp.argmax(jnp.where(errors > accepted, errors / accepted, 0))
        by_row = jnp.where(stale, promising[worst] ** 2 * allowance + jnp.abs(found * reach)[worst] / TRUST, 0)
        stale_error = inside + trusted_error(unknown, gap, TRUST)
        direction = fresh_part[worst] @ space.outside
        leads, matters = (direction != 0).any(), by_row.max() > 0
        renew = matters & (stale_error > trusted_error(known, gap, TRUST))[worst]
        renew = stale.any() & (renew | ~leads)
        return _Estimate(
            values=values,
            ritz=ritz,
            errors=errors,
            residuals=jnp.sqrt(outside**2 + found**2 @ allowance**2),
            row=jnp.argmax(jnp.where(matters, by_row, jnp.where(stale, space.ages, -1))),
            direction=direction,
            renew=renew,
            met=(errors <= accepted).all(),
            stuck=~renew & ~leads,
        )


def _start(state: _State, layout: Layout) -> Space:
    """The carried rows, none of which was multiplied yet."""
    b, p = state.vectors.shape
    c, dtype = b + ROOM, state.vectors.dtype
    largest = jnp.abs(state.values).max()  # a Hessian that fades has no use for the changes that it once had

    def padded(array: Array) -> Array:
        return jnp.concatenate([array, jnp.zeros((c - b, *array.shape[1:]), dtype)])

    return Space(
        basis=layout.constrain(padded(state.vectors)),
        outside=layout.constrain(jnp.zeros((c, p), dtype)),
        projected=jnp.diag(padded(state.values)),
        fresh=jnp.zeros(c, bool),
        ages=padded(state.ages),
        reach=padded(state.reach),
        drift=padded(jnp.minimum(state.drift, largest)),
        spread=jnp.minimum(state.spread, largest),
        filled=jnp.asarray(b),
        hvps=jnp.asarray(0),
    )


def _carry(space: Space, estimate: _Estimate, state: _State, layout: Layout) -> _State:
    """The block for the next step: the largest Ritz vectors over fresh and stale rows together."""
    b = len(state.vectors)
    values, z = estimate.values[:b], estimate.ritz[:b]
    ages = z**2 @ space.ages + 1
    fresh_part = jnp.where(space.fresh, z, 0)
    # What fresh products have outside the space corrects their vectors for the next step, at no cost: a power step.
    step = fresh_part * jnp.where(values[0] > 0, 1 / values[0], 0)
    vectors = orthonormal(z @ space.basis + step @ space.outside)
    wanted, motion, predicted = _predict(vectors, state)

    # The explorer's power steps find what rises from outside the block; a little chance keeps them from settling.
    key, chance_key = jax.random.split(state.key)

    def disturb(row: Float[Array, " p"]) -> Float[Array, " p"]:
        chance = layout.random(chance_key, (), row.dtype)
        return orthogonal(row + CHANCE * chance / jnp.linalg.norm(chance), predicted[:-1])

    last = jax.lax.cond(ages[-1] < 1.5, disturb, lambda row: row, predicted[-1])
    return _State(
        vectors=layout.constrain(predicted.at[-1].set(last)),
        values=values,
        ages=ages,
        reach=jnp.sqrt(space.norms_outside(fresh_part) ** 2 + z**2 @ space.reach**2),
        drift=jnp.sqrt(z**2 @ space.drift**2).at[-1].set(0),
        spread=space.spread,
        wanted=wanted,
        motion=motion,
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
