"""Where the edge of stability lies for an optax optimizer: 2/eta for gradient descent, its own line for any other.

No optimizer is known here by name: the line comes from derivatives of `optimizer.update`, as `linear_step` derives it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._loss import form, measurable, raveled
from eosbench.dynamics._linear_step import Push, Stateful, linear_step, replies

SMALL = 1e-3
"""Norm of the gradient up to which a step must be linear; the gradients of the burn-in have norm sqrt(p)."""

LONGEST_CYCLE = 128
"""Calls of `update` over which gradients may be accumulated."""

FRACTIONS = np.linspace(0.02, 0.98, 49)
"""Curvatures below the line, as fractions of it, at which no mode may grow."""


@dataclass(frozen=True, repr=False)
class Stability:
    """The linear stability threshold of one step of an optimizer; H is the Hessian, l1 the largest eigenvalue.

    Attributes:
        line: the sharpness l1(H) at the edge; None where the step is not the same for all parameters.
        scale: G, a pytree like the parameters, in units of 1/sharpness: the edge is where l1(G^1/2 H G^1/2) = 2.
        response: R = -d(update)/d(gradient), a pytree like the parameters.
        kappa: l1(R H) at the edge, which has no units: 2 for gradient descent. None where R is not proportional to G:
            then l1(R H) at the edge depends on H, and lies between the smallest and the largest 2 R/G.
        calls: of `update` that make one step, more than 1 where gradients are accumulated.
        reason: why there is no threshold, and then all of the above are None; None otherwise.
    """

    line: float | None = None
    scale: PyTree[Array] | None = None
    response: PyTree[Array] | None = None
    kappa: float | None = None
    calls: int | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        if self.reason is not None:
            return f"no linear threshold: {self.reason}"
        gains = _flat(self.scale)
        kappas = 2 * _flat(self.response)[gains > 0] / gains[gains > 0]
        level = f"= {self.kappa:.7g}" if self.kappa is not None else f"from {kappas.min():.7g} to {kappas.max():.7g}"
        if self.line is not None:
            return f"edge at sharpness {self.line:.7g}, where l1(R H) {level}"
        return f"edge at l1(G H) = 2, where l1(R H) {level}; G from {gains.min():.4g} to {gains.max():.4g}"


class _NoThresholdError(Exception):
    """Its message is the reason that is returned."""


class _Measured(NamedTuple):
    """One linearized step: three diagonals, and how far two assumptions are from holding."""

    scale: PyTree[Array]
    response: PyTree[Array]
    decay: PyTree[Array]  # K_x(-1)
    mixing: Float[Array, ""]  # relative: of one parameter's step with the others' gradients
    bending: Float[Array, ""]  # relative: change of the derivative from no gradient to one of norm SMALL


def stability(
    optimizer: Stateful | Callable[[], Stateful],
    state: PyTree | None = None,
    params: PyTree[Array] | None = None,
    *,
    burn_in: int = 300,
) -> Stability:
    """The curvature at which the next step of an optimizer loses stability, with its state frozen.

    On a quadratic with Hessian H, the mode that changes sign at each step grows beyond it; `linear_step` derives the
    condition. It is that of the next step: with its learning rate, where there is a schedule, and its bias corrections.
    Inside a compiled function, use `eosbench.dynamics.gain`.

    What the derivation assumes is checked:

    * The optimizer works entry by entry: a random gradient v gets the answer to a gradient of ones, times v, up to the
      square root of rounding.
    * Its step is linear in a small gradient: after a burn-in with gradients of mean square 1, the derivative along a
      gradient of norm 1e-3 is that at zero, within 5 %. It is the burn-in that knows how large a gradient is.
    * No other mode grows at curvatures from 2 to 98 % of the edge: the eigenvalues of the step of up to three single
      parameters tell.
    * Each call of `update` is a step. If only every k-th call answers the gradient, k calls with the same gradient are
      one step, and the state must be that before the first of them.

    Args:
        optimizer: an `optax.GradientTransformation` or `optax.MultiSteps`, or a `Partial` that returns one.
        state: before the step in question; that after a burn-in if None. Not that of `init`: there the second moment of
            Adam is zero, whose root has no derivative, and that of RMSprop is its eps. A parameter that never had a
            gradient, with others that had, counts as one of a second moment next to zero.
        params: where that step is taken, any pytree of real arrays; a vector of three if None.
        burn_in: how many steps are taken before the second check, and before the step in question if `state` is None.
            Its gradients are made up: that of the k-th parameter at step t is sqrt(2) cos(k t).

    Returns:
        A `Stability`. That an optimizer has no such threshold is no error: then its `reason` says why.

    Raises:
        TypeError, ValueError: an argument that has no answer, named in one sentence.
    """
    made = _read(made_from(optimizer))
    if params is None and state is not None:
        raise TypeError("state is given without params: pass also the parameters before that step.")
    params = jnp.asarray([1.0, 2.0, 3.0]) if params is None else params
    params = measurable(params)
    _check_untraced(state, params)
    params = jax.tree.map(jnp.asarray, params)
    burn_in = as_integer("burn_in", burn_in)
    try:
        _check_signature(made, state, params)
        return _threshold(made, state, params, burn_in)
    except _NoThresholdError as error:
        return Stability(reason=str(error))


def made_from(optimizer: Any) -> Stateful:
    """An optimizer, or what a recipe makes; anything with the two functions of one."""
    made = optimizer() if callable(optimizer) and not hasattr(optimizer, "update") else optimizer
    if not (callable(getattr(made, "init", None)) and callable(getattr(made, "update", None))):
        raise TypeError(
            f"optimizer is {made!r}, a {type(made).__name__}: it must have init and update, such as optax.adam(1e-3), "
            "or be a recipe for that, such as Partial(optax.adam, 1e-3)."
        )
    return made


class _Read(NamedTuple):
    """The two functions of an optimizer as they are now: new ones, so that no code compiled for them before is used.

    They may be methods of an object that has changed since, or read a global that was bound anew.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]


def _read(optimizer: Stateful) -> Stateful:
    return _Read(lambda *arguments: optimizer.init(*arguments), lambda *arguments: optimizer.update(*arguments))


def _check_untraced(*trees: PyTree) -> None:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees)):
        raise TypeError(
            "state, params or a number in optimizer is traced: ask for the stability of an optimizer, or make an "
            "EdgeDistance, outside of what jax.jit, jax.vmap or jax.grad transform; inside, use eosbench.dynamics.gain."
        )


def _check_signature(optimizer: Stateful, state: PyTree | None, params: PyTree[Array]) -> None:
    fresh = _attempt("its init does not take params alone", optimizer.init, params)
    if state is not None and form(state) != form(fresh):
        raise ValueError(
            "state is not one of this optimizer for these params: it must have the structure and the shapes of "
            "optimizer.init(params)."
        )
    what = "its update needs more than gradient, state and params"
    updates, _ = _attempt(what, optimizer.update, params, fresh, params)
    if form(updates) != form(params):
        raise _NoThresholdError("its update has another structure than params")


def _attempt(what: str, function: Callable, *arguments: Any) -> Any:
    try:
        return eqx.filter_eval_shape(function, *arguments)
    except Exception as error:  # whatever an optimizer raises is its reason
        message = (str(error).strip() or "no message").splitlines()[0]
        raise _NoThresholdError(f"{what} ({type(error).__name__}: {message})") from None


def _threshold(optimizer: Stateful, state: PyTree | None, params: PyTree[Array], burn_in: int) -> Stability:
    tangent = _tangent(params)
    burned, there = _burn_in(optimizer, params, burn_in)
    _check_untraced(burned, there)  # as they are if a number in the optimizer is
    burned, calls = _whole_steps(optimizer, burned, there, tangent, skip=True)
    measured = _measure(optimizer, burned, there, calls, tangent)
    if measured.bending > 0.05:
        raise _NoThresholdError("its step does not shrink in proportion to a small gradient")
    if state is None:
        state, params = burned, there
    else:
        state, calls = _whole_steps(optimizer, state, params, tangent, skip=False)
        measured = _measure(optimizer, state, params, calls, tangent)
        known = np.isfinite(_flat(measured.scale))
        if known.any() and not known.all():
            state = without_zeros(state)
            measured = _measure(optimizer, state, params, calls, tangent)
    gains, responses = _flat(measured.scale), _flat(measured.response)
    if not (np.isfinite(gains).all() and np.isfinite(responses).all()):
        early = "" if state is burned else " (in this state: if it is that of init, take some steps first)"
        raise _NoThresholdError(f"its step has no finite derivative where the gradient is zero{early}")
    if measured.mixing > _rounding(state, params) ** 0.5:
        raise _NoThresholdError(
            "it does not work entry by entry: a parameter's step depends on the gradients of others"
        )
    if not gains.any():
        raise _NoThresholdError("its step has derivative zero with respect to the gradient")
    if (_flat(measured.decay) <= -2).any():
        raise _NoThresholdError("its decay of the parameters overshoots without any curvature")
    if (gains < 0).any():
        raise _NoThresholdError("it moves up the gradient, in some parameters at least")
    _check_no_other_mode_grows(optimizer, state, params, calls, gains)
    active = gains > 0
    return Stability(
        line=_common(2 / gains, params) if active.all() else None,
        scale=measured.scale,
        response=measured.response,
        kappa=_common(2 * responses[active] / gains[active], params),
        calls=calls,
    )


def without_zeros(state: PyTree) -> PyTree:
    """A state with the number next to zero for each that is zero.

    The root of a second moment that never saw a gradient has no derivative at zero.
    """

    def moved(entry: Any) -> Any:
        if not eqx.is_inexact_array(entry):
            return entry
        return jnp.where(entry == 0, float(jnp.finfo(entry.dtype).tiny) * 2.0**40, entry).astype(entry.dtype)

    return jax.tree.map(moved, state)


def _flat(tree: PyTree[Array]) -> Float[np.ndarray, " p"]:
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def _rounding(*trees: PyTree[Array]) -> float:
    """The coarsest relative precision among floating arrays."""
    leaves = jax.tree.leaves(eqx.filter(trees, eqx.is_inexact_array_like))
    return max(float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in leaves)


def _common(numbers: Float[np.ndarray, " p"], params: PyTree[Array]) -> float | None:
    """The one number that they all are up to rounding, if they are."""
    low, high = numbers.min(), numbers.max()
    return float(low) if high - low <= 256 * _rounding(params) * high else None


@eqx.filter_jit
def _burn_in(optimizer: Stateful, params: PyTree[Array], steps: int) -> tuple[PyTree, PyTree[Array]]:
    flat, unravel = raveled(params)
    numbers = jnp.arange(1, flat.size + 1, dtype=flat.dtype)

    def step(carry: tuple, t: Int[Array, ""]) -> tuple[tuple, None]:
        state, params = carry
        gradient = jnp.sqrt(2.0).astype(flat.dtype) * jnp.cos(numbers * t.astype(flat.dtype))
        updates, after = optimizer.update(unravel(gradient), state, params)
        return (after, jax.tree.map(lambda x, u: (x + u).astype(x.dtype), params, updates)), None

    start = jax.tree.map(jnp.asarray, optimizer.init(params)), params
    return jax.lax.scan(step, start, jnp.arange(1, steps + 1))[0]


def _whole_steps(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], tangent: PyTree[Array], skip: bool
) -> tuple[PyTree, int]:
    """The state before a step and how many calls make one; with `skip`, a step that has begun is completed first."""
    first, after = _until_it_answers(optimizer, state, params, tangent)
    again, _ = _until_it_answers(optimizer, after, params, tangent)
    wait, calls = int(first), int(again)
    if max(wait, calls) > LONGEST_CYCLE:
        raise _NoThresholdError("its step has derivative zero with respect to the gradient")
    if skip and calls > 1:
        return (state if wait == calls else after), calls
    if wait != calls:
        raise _NoThresholdError(
            "its step has derivative zero with respect to the gradient in this state, though call "
            f"{wait} from here answers it (if it accumulates gradients, give the state after they were applied)"
        )
    return state, calls


@eqx.filter_jit
def _until_it_answers(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], tangent: PyTree[Array]
) -> tuple[Int[Array, ""], PyTree]:
    """Which call from here is the first to answer a gradient, all gradients being zero, and the state after it."""
    nothing = jax.tree.map(jnp.zeros_like, params)

    def call(carry: tuple) -> tuple:
        state, _, count = carry
        after, push = linear_step(optimizer, state, params)
        # At once or, as some momentum does, only through the state that the gradient of the step before has left.
        left, _ = push(jax.tree.map(jnp.zeros_like, eqx.filter(state, eqx.is_inexact_array)), tangent, nothing)
        return after, _any(push(left, tangent, nothing)[1]), count + 1

    def waits(carry: tuple) -> Bool[Array, ""]:
        return ~carry[1] & (carry[2] <= LONGEST_CYCLE)

    start = jax.tree.map(jnp.asarray, state), jnp.asarray(False), jnp.asarray(0)
    after, _, count = jax.lax.while_loop(waits, call, start)
    return count, after


def _any(tree: PyTree[Array]) -> Bool[Array, ""]:
    return jnp.stack([(leaf != 0).any() for leaf in jax.tree.leaves(tree)]).any()


def _tangent(params: PyTree[Array]) -> PyTree[Array]:
    """A direction without a small entry, signs and sizes at random."""
    random = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: jnp.asarray(random.choice([-1, 1], x.shape) * random.uniform(0.5, 1.5, x.shape), x.dtype), params
    )


@eqx.filter_jit
def _measure(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int, tangent: PyTree[Array]
) -> _Measured:
    flat, unravel = raveled(params)
    direction, nothing = raveled(tangent)[0], jnp.zeros_like(flat)

    def push_at(gradient: Float[Array, " p"]) -> Push:
        return linear_step(optimizer, state, params, calls, unravel(gradient))[1]

    def derivative(push: Push) -> Float[Array, " p"]:
        still = jax.tree.map(jnp.zeros_like, eqx.filter(state, eqx.is_inexact_array))
        return raveled(push(still, tangent, unravel(nothing))[1])[0]

    def reply(direction: Float[Array, " p"]) -> Float[Array, "3 p"]:
        return jnp.stack([raveled(part)[0] for part in replies(push, state, unravel(direction))])

    push = push_at(nothing)
    diagonal, mixed = jax.vmap(reply)(jnp.stack([jnp.ones_like(flat), direction]))
    separate = diagonal * direction[None]
    # K_x matters beside 2, the other two matter on their own.
    size = jnp.abs(separate) + jnp.asarray([[0], [0], [2]], flat.dtype)
    difference = jnp.abs(mixed - separate)
    at_zero, nearby = derivative(push), derivative(push_at(SMALL / jnp.linalg.norm(direction) * direction))
    at_once, gradient, decay = diagonal
    return _Measured(
        scale=unravel(-2 * gradient / (2 + decay)),
        response=unravel(-at_once),
        decay=unravel(decay),
        mixing=jnp.where(difference == 0, 0, difference / size).max(),
        bending=jnp.linalg.norm(nearby - at_zero) / jnp.linalg.norm(at_zero),
    )


def _check_no_other_mode_grows(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int, gains: Float[np.ndarray, " p"]
) -> None:
    active = np.flatnonzero(gains)
    for i in {int(active[0]), int(active[gains[active].argmin()]), int(active[gains[active].argmax()])}:
        at_zero, per_curvature = _single_parameter(optimizer, state, params, calls, i)
        # Some states grow by themselves, a sum of weights for instance: it is curvature that must not make one grow.
        limit = max(1.0, np.abs(np.linalg.eigvals(at_zero)).max()) + 1e-4
        for curvature in FRACTIONS * 2 / gains[i]:
            modes = np.linalg.eigvals(at_zero + curvature * per_curvature)
            fastest = modes[np.abs(modes).argmax()]
            if np.abs(fastest) > limit:
                raise _NoThresholdError(
                    f"a mode that turns by {abs(np.degrees(np.angle(fastest))):.3g} degrees at each step grows at "
                    f"curvature {curvature:.3g} already, where the one that turns by 180 needs {2 / gains[i]:.3g}"
                )


def _single_parameter(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int, i: int
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """M and N such that M + curvature N is the step of those entries of the state that parameter i reaches, and of it.

    The parameter comes last. Which entries it reaches is seen from the derivatives that are not zero.
    """
    n = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array_like)))
    p = sum(leaf.size for leaf in jax.tree.leaves(params))

    def push(column: int) -> tuple[Float[np.ndarray, " n"], float]:
        unit = np.zeros(n + 2 * p)
        unit[column] = 1
        after, update = _push_flat(optimizer, state, params, calls, jnp.asarray(unit))
        return np.asarray(after, np.float64), float(update[i])

    by_gradient, by_params = push(n + i), push(n + p + i)
    reached: dict[int, tuple[Float[np.ndarray, " n"], float]] = {}
    waiting = [*np.flatnonzero(by_gradient[0]), *np.flatnonzero(by_params[0])]
    while waiting:
        j = int(waiting.pop())
        if j not in reached:
            reached[j] = push(j)
            waiting.extend(np.flatnonzero(reached[j][0]))
    rows = list(reached)
    at_zero = np.array([[*after[rows], update] for after, update in [*reached.values(), by_params]]).T
    at_zero[-1, -1] += 1
    per_curvature = np.zeros_like(at_zero)
    per_curvature[:, -1] = [*by_gradient[0][rows], by_gradient[1]]
    return at_zero, per_curvature


@eqx.filter_jit
def _push_flat(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int, tangent: Float[Array, " m"]
) -> tuple[Float[Array, " n"], Float[Array, " p"]]:
    moving, to_state = raveled(eqx.filter(state, eqx.is_inexact_array))
    flat, to_params = raveled(params)
    _, push = linear_step(optimizer, state, params, calls)
    s, g, x = jnp.split(tangent, [moving.size, moving.size + flat.size])
    after, update = push(
        to_state(s.astype(moving.dtype)), to_params(g.astype(flat.dtype)), to_params(x.astype(flat.dtype))
    )
    return raveled(after)[0], raveled(update)[0]
