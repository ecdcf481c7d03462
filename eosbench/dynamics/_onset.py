"""From which curvature or step size on runs grow, found by running them: it derives nothing and knows no threshold."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.dynamics._linear_step import Stateful
from eosbench.dynamics._stability_line import made_from

POINTS = 33
"""Values that one sweep tries at once, so that it narrows a bracket to a 32nd."""

SWEEPS = 8
"""After these a bracket is 1e-12 of what it was."""

DOUBLINGS = 11
"""Of the number of steps, to 2048."""

NEAR, FAR = 1 / 3, -0.3
"""Runs start at the smallest normal number to the power NEAR, 1e-103 in double precision, where the square of a
gradient is nothing beside a second moment; one that was ever 1e92 times as far out, the power FAR, grows for good."""


class Onset(NamedTuple):
    """Where runs begin to grow: the middle of a bracket, and half its width."""

    value: float
    error: float


def onset(growth: Callable[[Float[np.ndarray, " n"]], Float[ArrayLike, " n"]], low: float, high: float) -> Onset:
    """The value between `low` and `high` from which on runs grow, by sweeps that narrow a bracket.

    Args:
        growth: of n values tried at once, n numbers that are positive where a run grows.
        low, high: a value at which runs decay and one at which they grow, in units of the values tried.

    Raises:
        ValueError: runs grow at `low` already, or do not at `high`.
    """
    for _ in range(SWEEPS):
        values = np.linspace(low, high, POINTS)
        rises = np.asarray(growth(values)) > 0
        if rises[0] or not rises[-1]:
            what = "grow already at low" if rises[0] else "do not grow at high"
            raise ValueError(f"runs {what}, which is {(low if rises[0] else high):g}: give a bracket of the onset.")
        first = int(np.argmax(rises))
        low, high = float(values[first - 1]), float(values[first])
    return Onset((low + high) / 2, (high - low) / 2)


def hessian_onset(
    optimizer: Stateful | Callable[[], Stateful],
    hessian: Float[ArrayLike, "p p"],
    low: float,
    high: float,
    *,
    state: PyTree | None = None,
    steps: int = 4000,
    held: Sequence[str] = (),
) -> Onset:
    """The t between `low` and `high` from which on an optimizer grows on quadratics with Hessian t H.

    Args:
        optimizer, steps, held: as for `growth`.
        hessian: H.
        low, high: a t at which runs decay and one at which they grow.
        state: of the optimizer before the first step; that of `init` if None.

    Raises:
        ValueError: runs grow at `low` already, or do not at `high`.
    """
    matrix = jnp.asarray(hessian)
    direction = np.random.default_rng(1).normal(size=len(matrix))
    near = float(jnp.finfo(matrix.dtype).tiny) ** NEAR
    start = jnp.asarray(near * direction / np.linalg.norm(direction), matrix.dtype)
    state = made_from(optimizer).init(start) if state is None else state

    def grows(scales: Float[np.ndarray, " n"]) -> Float[Array, " n"]:
        hessians = jnp.asarray(scales, matrix.dtype)[:, None, None] * matrix[None]
        return growth(optimizer, state, start, hessians, steps=steps, held=held)

    return onset(grows, low, high)


@eqx.filter_jit
def growth(
    optimizer: Stateful | Callable[[], Stateful],
    state: PyTree,
    start: Float[Array, " p"],
    hessians: Float[Array, "n p p"],
    *,
    steps: int = 4000,
    held: Sequence[str] = (),
) -> Float[Array, " n"]:
    """How an optimizer grows on quadratics x'Hx/2: log of |x| after `steps` steps over |x| after half of them.

    The second half alone decides, when what decays has decayed. A threshold that depends on the state, such as that of
    a second moment or a count, is that of one step: `held` keeps those entries as they are. Start near the minimum at
    0, at 1e-100 say, so that the gradients leave a second moment alone and a run that grows has room to.

    Args:
        optimizer: an `optax.GradientTransformation` or a `Partial` that returns one; where the numbers of the `Partial`
            are arrays, other numbers are not compiled again.
        state: of the optimizer, before the first step.
        start: the parameters there.
        hessians: the curvatures to try, all in one compiled loop.
        steps: of each run, an even number.
        held: names of the entries of the state that each step finds as `state` has them.

    Returns:
        For each Hessian a number without units: positive where the run grows, infinite where it left for good (1e92
        times as far out as at the start), and minus infinity where it comes to 0.
    """
    made = made_from(optimizer)
    half = as_integer("steps", steps, 2) // 2
    kept = {name: optax.tree.get(state, name) for name in held}
    far = jnp.finfo(start.dtype).tiny ** FAR * jnp.linalg.norm(start)

    def run(hessian: Float[Array, "p p"]) -> Float[Array, ""]:
        def step(_: Array, carry: tuple) -> tuple:
            x, state, away = carry
            updates, after = made.update(hessian @ x, state, x)
            x = x + updates
            return x, optax.tree.set(after, **kept), away | ~(jnp.linalg.norm(x) < far)

        middle = jax.lax.fori_loop(0, half, step, (start, state, jnp.asarray(False)))
        end = jax.lax.fori_loop(0, half, step, middle)
        before, after = jnp.linalg.norm(middle[0]), jnp.linalg.norm(end[0])
        log = jnp.where(after > 0, jnp.log(after) - jnp.log(before), -jnp.inf)
        return jnp.where(end[2], jnp.inf, log)

    return jax.vmap(run)(hessians)


@jax.jit
def mean_square_growth(maps: Float[Array, "n k p p"], weights: Float[Array, " k"]) -> Float[Array, " n"]:
    """How E|x|² grows where each step applies one of k linear maps at random: log of it after 4096 steps over 2048.

    The second moment is carried on itself, S <- sum of weight J S J', so that nothing is sampled and no sequence of
    maps is left out. The start has second moment 1. Memory is p^4 for each case.

    Args:
        maps: J, of n cases that are tried at once.
        weights: probabilities of the maps, the same in all cases.

    Returns:
        A number without units for each case: positive where E|x|² grows.
    """
    p = maps.shape[-1]

    def run(maps: Float[Array, "k p p"]) -> Float[Array, ""]:
        def square(_: Array, carry: tuple[Float[Array, "q q"], Float[Array, ""]]) -> tuple[Array, Array]:
            power, log = carry
            power = power @ power
            size = jnp.linalg.norm(power)
            return power / size, 2 * log + jnp.log(size)

        once = jnp.einsum("k,kij,klm->iljm", weights, maps, maps).reshape(p * p, p * p)
        power, log = jax.lax.fori_loop(0, DOUBLINGS, square, (once, jnp.zeros((), maps.dtype)))
        unit = jnp.eye(p, dtype=maps.dtype).ravel()
        half = power @ unit
        return log + jnp.log(unit @ (power @ half)) - jnp.log(unit @ half)

    return jax.vmap(run)(maps)
