"""Following the largest eigenvalues of a Hessian along a trajectory: a probe for `eosbench.train`.

A Davidson iteration whose search space is carried from step to step, for the Hessian changes little in a step. At each
step, with the block of vectors from the step before, or from the one before that if its point is nearer:

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
5. The largest Ritz vectors are the block for later. The last of them is the *explorer*: power steps and a little
   chance, by which it sees an eigenvalue that rises from outside. It is multiplied every few steps.

The first measurement starts from random vectors, all of which are multiplied; it is a cold solve by the same code.

Beside LOBPCG, which also improves a block by a search space of residuals: vectors keep their entries of the projected
matrix although the matrix has changed since, products are given one at a time to where they are needed, and the
direction of the last step is not a column of the space: the wanted vectors are moved on by it.
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
from eosbench.curvature._bounds import TRUST as COLD_TRUST
from eosbench.curvature._bounds import are_simple, rounding, tolerance, trusted_error
from eosbench.curvature._dense import dense_spectrum
from eosbench.curvature._layout import Layout
from eosbench.curvature._perturbation import moving
from eosbench.curvature._point import Point, Product
from eosbench.curvature._shown import as_html, has_numbers, with_errors
from eosbench.curvature._unit import binary_unit
from eosbench.probes._audit import STEPS, Audit, audit
from eosbench.probes._memory import EXPLORE, Block, Memory
from eosbench.probes._search_space import (
    Space,
    compress,
    eigenpairs,
    multiply,
    orthogonal,
    orthonormalizing,
)

DENSE = 64
"""Up to this many parameters, or a few for each vector carried, every step solves the whole matrix."""

CHANCE = 0.1
"""Share of a random direction in the explorer after each of its products."""

SHIFT = 0.3
"""Of the explorer's power steps, as a share of its value: they are steps with the Hessian minus that."""

RENEW = 10
"""Steps after which any vector but the explorer is multiplied again, for a mixture of two may be on its way to one that
rises."""

RENEW_EACH = 15
"""The same where two blocks alternate, which hold nearly the same vectors."""

WARY = 2
"""Gaps are divided by this: more eigenvalues may lie within than the block holds."""

CROWD = 60
"""And by this over the number of tolerances between the first value and the explorer's, if that is more: where all of
the block lie together, others do that it has no room for."""

TRUST = 8
"""An error is never taken to be below the norm of what the product has outside the space, divided by this. It is 3 in a
cold solve, where a small residual may be that of the wrong vector; here the vector was the right one a step ago."""

MARGIN = 1.5
"""A value that is not wanted is taken to rise by up to the norm of what its product has outside, divided by this."""

ROOM = 4
"""Rows of the search space beyond those that are carried; the fresh ones are compressed when they are full."""

START_HVPS = 40
"""Products of the first measurement at most, for each vector carried."""

FAR_BELOW = 0.1
"""The first measurement stops only when its errors are this far below the tolerance: while the vectors are random, a
small residual may be that of a mixture of two."""


class Track(NamedTuple):
    """What the probe records at a step; `Run.probes[name]` stacks them along a leading axis of measurements.

    Attributes:
        values: the k largest eigenvalues, descending, shape (k,): Ritz values over vectors of which some, and always
            the one that led at the step before, were multiplied in this step.
        errors: estimates of how far each is from its eigenvalue, shape (k,).
        residuals: norms of H u - value u, shape (k,), estimated where u rests on earlier products.
        converged: whether errors <= rtol |value| + a few eps norm(H) for all k, scalar.
        hvps: Hessian-vector products spent in this step, scalar.
        upper: the largest eigenvalue is at most this, but for a probability of 1e-6, scalar; infinite where there is no
            audit. It is loose, by about a fifth of the width of the spectrum.
        block: Ritz values of all carried vectors, shape (block,), the first k of them close to `values`.
        ages: how many steps ago the products were taken that each of `block` rests on, weighted, shape (block,); 0 is
            fresh.
    """

    values: Float[Array, " k"]
    errors: Float[Array, " k"]
    residuals: Float[Array, " k"]
    converged: Bool[Array, ""]
    hvps: Int[Array, ""]
    upper: Float[Array, ""]
    block: Float[Array, " b"]
    ages: Float[Array, " b"]

    @property
    def edge(self) -> float | None:
        """The value at the edge of stability, where the units tell it; that of a sharpness is the optimizer's."""
        return None

    def __repr__(self) -> str:
        """The last measurement of those that are stacked here, and how many of them converged, at what cost."""
        name = type(self).__name__
        if not has_numbers(*self) or self.values.ndim not in (1, 2):
            return f"{name}(values={self.values}, ...)"
        if self.values.ndim == 1:
            ended = "converged" if bool(self.converged) else "not converged"
            return f"{name}({with_errors(self.values, self.errors)}; {int(self.hvps)} products, {ended})"
        n = len(self.values)
        if n == 0:
            return f"{name}(no measurement)"
        share, mean = float(np.mean(self.converged)), float(np.mean(self.hvps))
        last = with_errors(self.values[-1], self.errors[-1])
        return f"{name}({n} measurements, the last {last}; {mean:.3g} products each, {share:.0%} converged)"

    def _repr_html_(self) -> str:
        return as_html(repr(self))


class _Estimate(NamedTuple):
    values: Float[Array, " c"]  # Ritz values over all rows, descending
    ritz: Float[Array, "c c"]  # their vectors in the basis, as rows
    errors: Float[Array, " b"]
    accepted: Float[Array, " b"]  # errors up to here are
    residuals: Float[Array, " b"]
    gram: Float[Array, "c c"]  # inner products of what products have outside the space
    row: Int[Array, ""]  # the stale one that matters most for the worst of the values
    direction: Float[Array, " p"]  # what its products have outside the space
    renew: Bool[Array, ""]  # whether the row promises more than the direction
    met: Bool[Array, ""]
    stuck: Bool[Array, ""]  # whether there is nothing to multiply


def _named(check: Callable, name: str, **options: Any) -> Callable[[Any], Any]:
    return partial(check, f"{name} of a Sharpness probe", **options)


def _or_none(name: str, number: Any) -> int | None:
    return None if number is None else as_integer(name, number)


class Sharpness(eqx.Module):
    """A probe that measures the k largest Hessian eigenvalues along training, warm from the measurement before.

    An eigenvalue that rises outside the vectors that are carried, and shares no direction with them, is seen by the
    explorer alone, and perhaps tens of steps late: as in a loss that is a sum over separate networks. A larger `block`
    sees more. An *audit* at some of the steps looks from a random start: what it finds above the values makes the step
    one that has not converged, with an error that covers it, and its vector becomes a part of the block.

    Training may be differentiated through; of what the probe records, `values` have a derivative, as in `sharpness`.

    Attributes:
        k: how many values must meet the tolerance.
        rtol: tolerance of the error estimates relative to each value, between 0 and 1.
        max_hvps: most products in one step, of which one is always spent, beside those of an audit; where they do not
            suffice, the step is marked as not converged. The first measurement may take 40 for each vector.
        block: vectors carried from step to step, at least k; several eigenvalues sit together at the edge of stability.
        seed: for the random directions.
        audit: measurements from one audit to the next; None for no audit. It takes 24 products, twice as many where it
            finds what may be one of the wanted, and all vectors that are carried are multiplied.
    """

    k: int = eqx.field(default=1, converter=_named(as_integer, "k"))
    rtol: float = eqx.field(default=1e-3, converter=_named(as_tolerance, "rtol"))
    max_hvps: int = eqx.field(default=48, converter=_named(as_integer, "max_hvps"))
    block: int = eqx.field(default=4, converter=_named(as_integer, "block"))
    seed: int = eqx.field(default=0, converter=_named(as_traceable_integer, "seed", at_least=None))
    audit: int | None = eqx.field(default=100, converter=_named(_or_none, "audit"))

    @property
    def _carried(self) -> int:
        """How many vectors are carried, beside the explorer."""
        return max(self.block, self.k + 1)

    def _is_dense(self, p: int) -> bool:
        """Whether p parameters are so few that the Hessian is formed and nothing remembered."""
        return p <= max(DENSE, 8 * (self._carried + 1))

    def init(self, point: Point) -> Memory | None:
        """The block at the start of a trajectory: random, the first vector leaning towards the gradient.

        The first measurement makes eigenvectors of it, by the same steps as the later ones and with more products.
        """
        product, gradient = jax.lax.stop_gradient((point.product, point.gradient))
        layout, p, dtype = point.layout, point.layout.p, gradient.dtype
        if self.k > p:
            raise ValueError(f"k of a Sharpness probe is {self.k}, but params has {p} entries.")
        b = self._carried
        if self._is_dense(p):
            return None
        key, start_key = jax.random.split(jax.random.key(self.seed))
        vectors = layout.random(start_key, (b + 1,), dtype)
        vectors = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
        gradient = gradient / binary_unit(gradient)
        guess = gradient / jnp.maximum(jnp.linalg.norm(gradient), jnp.finfo(dtype).tiny)
        vectors, zeros = layout.orthonormal(vectors.at[0].add(guess)), jnp.zeros(b + 1, dtype)
        values = zeros + binary_unit(product(vectors[0]))
        block = Block(vectors, values, ages=zeros, reach=zeros, drift=zeros, spread=jnp.zeros((), dtype))
        return Memory(
            last=block,
            before=block,
            places=layout.constrain(jnp.full((2, layout.size), jnp.inf, dtype)),
            motion=jnp.zeros_like(vectors[: self.k]),
            factor=jnp.zeros(self.k, dtype),
            measured=jnp.asarray(0),
            begun=jnp.asarray(False),
            key=key,
        )

    def measure(self, point: Point, state: Memory | None) -> tuple[Track, Memory | None]:
        """Values at a point, and the state for the next one."""
        track, _, state = self.eigenpairs(point, state)
        return track, state

    def eigenpairs(self, point: Point, state: Memory | None) -> tuple[Track, Float[Array, "k p"], Memory | None]:
        """What `measure` returns, and between the two the eigenvectors, for a probe that needs them.

        They are orthonormal rows, flat as the gradient of the point, of either sign, and off by about residual/gap. In
        a derivative they count as fixed.
        """
        still = jax.lax.stop_gradient(point.product)
        layout, p, dtype = point.layout, point.layout.p, point.gradient.dtype
        # A formula can have a finite second derivative where it has no value: x log x at -1.
        finite = jnp.isfinite(point.loss) & jnp.isfinite(point.gradient).all()
        if state is None and not self._is_dense(p):
            raise TypeError(
                "memory of a Sharpness probe is None: the first measurement takes that of probe.init(point), and each "
                "further one that of the measurement before."
            )
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
                upper=values[0] + errors[0],
                block=values,
                ages=age,
            )
            return moving(track, point.product, spectrum.vectors, spectrum.simple), spectrum.vectors, None

        b = len(state.last.vectors)
        unit = binary_unit(state.last.values)
        state = state.times(1 / unit)
        place = jax.lax.stop_gradient(layout.ravel(point.params)).astype(dtype)
        block, back = state.nearest(place, layout)
        overdue = block.ages / jnp.where(back, RENEW_EACH, jnp.full(b, RENEW, dtype)).at[-1].set(EXPLORE)
        oldest = jnp.argmax(overdue)
        due = overdue[oldest] >= 1
        starting = ~state.begun
        audited = (state.measured % (self.audit or 1) == 0) & (state.measured > 0) & (self.audit is not None)

        def product(vector: Float[Array, " p"]) -> Float[Array, " p"]:
            return still(vector) / unit

        every = audited | starting  # all vectors that are carried are multiplied, one after the other
        most = jnp.where(starting, START_HVPS * b, self.max_hvps)

        def renews(space: Space) -> Bool[Array, ""]:
            return jnp.where(every, space.hvps < b, (space.hvps == 1) & due & (oldest > 0))

        def unfinished(carry: tuple[Space, _Estimate]) -> Bool[Array, ""]:
            space, estimate = carry
            unmet = renews(space) | (~estimate.met & ~estimate.stuck & jnp.isfinite(estimate.errors).all())
            return (space.hvps == 0) | (unmet & (space.hvps < most))

        def is_full(space: Space) -> Bool[Array, ""]:
            return space.filled == len(space.basis)

        def expand(carry: tuple[Space, _Estimate]) -> tuple[Space, _Estimate]:
            space, estimate = carry
            space = jax.lax.while_loop(is_full, lambda space: compress(space, b, layout), space)  # once, if at all
            due_row = jnp.where(every, space.hvps, oldest)
            row = jnp.where(space.hvps == 0, 0, jnp.where(renews(space), due_row, estimate.row))
            renew = (space.hvps == 0) | renews(space) | estimate.renew
            space = multiply(product, space, b, renew, row, estimate.direction)
            return space, self._estimate(space, b, starting)

        space = _start(block, layout)
        blank = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(lambda: self._estimate(space, b, starting))
        )
        space, estimate = jax.lax.while_loop(unfinished, expand, (space, blank))
        found, upper = self._look(product, space, estimate, audited, state.key, layout)
        # Of the values and what was found beside them the k largest: so much at least each of the values is too low.
        values, errors = estimate.values[: self.k], estimate.errors[: self.k]
        seen = found.value + jnp.where(found.value > values[-1], found.error, 0)
        low = -jnp.sort(-jnp.append(values, seen))[: self.k] - values
        within = (jnp.maximum(errors, low) <= estimate.accepted[: self.k]).all()
        key, chance = jax.random.split(state.key)
        left = _explored(_carry(space, estimate, b, chance, layout), found)
        # Random vectors had no entries before, whose change would be a drift.
        left = left._replace(drift=jnp.where(starting, 0, left.drift), spread=jnp.where(starting, 0, left.spread))
        after = state.followed_by(left, place, layout)._replace(key=key)
        # Where nothing could be measured the memory stays, for the next point may be finite again. A sum is finite only
        # where all its terms are.
        usable = jnp.isfinite(estimate.errors).all() & jnp.isfinite(left.vectors.sum())
        after = jax.tree.map(lambda new, old: jnp.where(usable, new, old), after, state)
        # The count depends on nothing that differs between runs that are mapped over, so an audit stays a branch there.
        state = after._replace(measured=state.measured + 1, begun=state.begun | usable).times(unit)
        track = Track(
            values=unit * values,
            errors=unit * jnp.maximum(errors, low),
            residuals=unit * estimate.residuals[: self.k],
            converged=(estimate.met | starting) & within & finite,
            hvps=space.hvps + found.hvps,
            upper=unit * upper,
            block=state.last.values[:-1],
            ages=state.last.ages[:-1] - 1,
        )
        # Where neither they nor a derivative are asked for, the compiler leaves them out.
        vectors = estimate.ritz[: self.k] @ space.basis
        unseen = rounding(jnp.abs(state.last.values).max(), dtype)
        simple = are_simple(jnp.append(track.values, state.last.values[self.k]), track.residuals, unseen)
        return moving(track, point.product, vectors, simple), vectors, state

    def _look(
        self,
        product: Product,
        space: Space,
        estimate: _Estimate,
        audited: Bool[Array, ""],
        key: PRNGKeyArray,
        layout: Layout,
    ) -> tuple[Audit, Float[Array, ""]]:
        """What an audit finds outside the block, and the upper bound of the largest eigenvalue that follows."""
        b, top = len(estimate.errors), estimate.values[0]
        nothing = Audit.of_nothing(space.basis[0])
        if self.audit is None:
            return nothing, nothing.upper

        def look() -> tuple[Audit, Float[Array, ""]]:
            known = estimate.ritz[: b - 1]  # without the last, which is no eigenvector
            matters = estimate.values[self.k - 1] + estimate.accepted[self.k - 1]
            found = audit(product, known @ space.basis, matters, key, layout)
            # A symmetric matrix in two blocks is at most that of the norms of its four parts.
            coupling = jnp.linalg.norm(_norms(known, estimate.gram))
            upper = (top + found.upper) / 2 + jnp.hypot((top - found.upper) / 2, coupling)
            all_fresh = (space.fresh | ~space.live).all()
            return found, jnp.where(all_fresh, upper + rounding(jnp.abs(upper), upper.dtype), jnp.inf)

        return jax.lax.cond(audited, look, lambda: (nothing, nothing.upper))

    def _estimate(self, space: Space, b: int, starting: Bool[Array, ""]) -> _Estimate:
        """What each carried value may be off by, and where the next product goes."""
        k, stale = self.k, space.live & ~space.fresh
        drift = jnp.where(jnp.arange(len(stale)) == b - 1, 0, space.drift).max()
        allowance = jnp.where(stale, drift * space.ages, 0)
        matrices = jnp.stack([space.projected, space.projected + jnp.diag(allowance)])
        (values, promised), (ritz, promising) = eigenpairs(matrices, jnp.stack([space.live, space.live]))
        found, top = ritz[:b], values[:b]
        inside = jnp.maximum(promised - values, 0)[:b]

        fresh_part = jnp.where(space.fresh, found, 0)
        gram = space.gram()
        known = _norms(fresh_part, gram)
        # What lay outside may have grown since. For the wanted ones that counts; with it for the others too, twice as
        # many products would be spent where no crossing was near.
        wanted = jnp.arange(b) < k
        reach = space.reach[None, :] + jnp.where(wanted, space.spread, 0)[:, None] * space.ages[None, :]
        unknown = jnp.sqrt(jnp.sum(jnp.where(stale, found * reach, 0) ** 2, axis=1))
        outside = jnp.sqrt(known**2 + unknown**2)
        unseen = rounding(jnp.abs(space.projected).max(), values.dtype)
        accepted = tolerance(top, self.rtol, unseen)
        width = jnp.maximum(top[0] - top[b - 1], accepted[0])
        gap = jnp.maximum(top - promised[b - 2], 0) / jnp.maximum(CROWD * accepted[0] / width, WARY)
        # One that is not wanted may be off as long as it could not become one that is; the last is no eigenvector. At
        # the start nothing is known of any: less is trusted, and the others have to be found too, for one of them may
        # be the next to lead.
        trust = jnp.where(starting, COLD_TRUST, TRUST).astype(top.dtype)
        errors = inside + jnp.where(wanted | starting, trusted_error(outside, gap, trust), outside / MARGIN)
        errors = errors.at[-1].set(inside[-1])
        accepted = jnp.where(wanted | starting, accepted, accepted[k - 1] + top[k - 1] - top)
        asked = jnp.where(wanted & starting, tolerance(top, FAR_BELOW * self.rtol, unseen), accepted)
        worst = jnp.argmax(jnp.where(errors > asked, errors / asked, 0))
        by_row = jnp.where(stale, promising[worst] ** 2 * allowance + jnp.abs(found * reach)[worst] / TRUST, 0)
        stale_error = inside + trusted_error(unknown, gap, TRUST)
        direction = space.over_fresh(
            lambda row, direction: direction + fresh_part[worst, row] * space.outside[row],
            jnp.zeros_like(space.outside[0]),
        )
        leads, matters = (direction != 0).any(), by_row.max() > 0
        renew = matters & (stale_error > trusted_error(known, gap, TRUST))[worst]
        renew = stale.any() & (renew | ~leads)
        return _Estimate(
            values=values,
            ritz=ritz,
            errors=errors,
            accepted=accepted,
            residuals=jnp.sqrt(outside**2 + found**2 @ allowance**2),
            gram=gram,
            row=jnp.argmax(jnp.where(matters, by_row, jnp.where(stale, space.ages, -1))),
            direction=direction,
            renew=renew,
            met=(errors <= asked).all(),
            stuck=~renew & ~leads,
        )


def _norms(combinations: Float[Array, "n c"], gram: Float[Array, "c c"]) -> Float[Array, " n"]:
    """Of combinations of vectors with these inner products."""
    return jnp.sqrt(jnp.maximum(jnp.sum((combinations @ gram) * combinations, axis=1), 0))


def _start(block: Block, layout: Layout) -> Space:
    """The carried rows, none of which was multiplied yet."""
    b, p = block.vectors.shape
    c, dtype = b + ROOM, block.vectors.dtype
    largest = jnp.abs(block.values).max()  # a Hessian that fades has no use for the changes that it once had

    def padded(array: Array) -> Array:
        return jnp.concatenate([array, jnp.zeros((c - b, *array.shape[1:]), dtype)])

    return Space(
        basis=layout.constrain(padded(block.vectors)),
        outside=layout.constrain(jnp.zeros((c, p), dtype)),
        projected=jnp.diag(padded(block.values)),
        fresh=jnp.zeros(c, bool),
        ages=padded(block.ages),
        reach=padded(block.reach),
        drift=padded(jnp.minimum(block.drift, largest)),
        spread=jnp.minimum(block.spread, largest),
        filled=jnp.asarray(b),
        hvps=jnp.asarray(0),
    )


def _carry(space: Space, estimate: _Estimate, b: int, key: PRNGKeyArray, layout: Layout) -> Block:
    """The block for later: the largest Ritz vectors over fresh and stale rows together."""
    values, z = estimate.values[:b], estimate.ritz[:b]
    ages = z**2 @ space.ages + 1
    fresh_part = jnp.where(space.fresh, z, 0)
    # What fresh products have outside the space corrects their vectors for the next step, at no cost: a power step.
    # The explorer's is shifted, so that what rises above its value gains on it soon; and it is smaller where much is
    # outside, for otherwise what lies far below would gain as well. Rounding is no direction.
    beyond = _norms(fresh_part, estimate.gram)
    least = jnp.sqrt(jnp.finfo(values.dtype).eps) * jnp.abs(values).max()
    scale = jnp.maximum(jnp.maximum((1 - SHIFT) * jnp.abs(values[-1]), 2 * beyond[-1]), least)
    scales = jnp.full(b, values[0]).at[-1].set(scale)
    step = fresh_part * jnp.where(scales > 0, 1 / scales, 0)[:, None]
    turn = orthonormalizing(z @ z.T + step @ estimate.gram @ step.T)  # for what is outside is orthogonal to the basis
    shares = turn @ step
    vectors = space.over_fresh(
        lambda row, vectors: vectors + jnp.outer(shares[:, row], space.outside[row]), (turn @ z) @ space.basis
    )

    # The explorer's power steps find what rises from outside the block; a little chance keeps them from settling.
    def disturb(row: Float[Array, " p"]) -> Float[Array, " p"]:
        chance = layout.random(key, (), row.dtype)
        # The sign of a vector is an accident, and what is added to it must not depend on that.
        chance = chance * jnp.where(row @ chance < 0, -1, 1).astype(row.dtype)
        return orthogonal(row + CHANCE * chance / jnp.linalg.norm(chance), vectors[:-1])

    last = jax.lax.cond(ages[-1] < 1.5, disturb, lambda row: row, vectors[-1])
    return Block(
        vectors=layout.constrain(vectors.at[-1].set(last)),
        values=values,
        ages=ages,
        reach=jnp.sqrt(beyond**2 + z**2 @ space.reach**2),
        drift=jnp.sqrt(z**2 @ space.drift**2).at[-1].set(0),
        spread=space.spread,
    )


def _explored(block: Block, found: Audit) -> Block:
    """The block with what an audit found in the place of the explorer, if it summed up its vector."""

    def explored() -> Block:
        return block.exploring(found.vector, found.value, EXPLORE, found.residual)  # multiplied at the next step

    return jax.lax.cond(found.hvps > STEPS, explored, lambda: block)
