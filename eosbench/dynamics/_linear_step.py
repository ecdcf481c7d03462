"""One step of an optax optimizer, linearized where the gradient is zero, and what it makes of an alternating gradient.

Freeze the optimizer's state at s, put the parameters at a minimum x0, and write g for the gradient. To first order one
step is

    s' = A s + B g + E x,        x' = x + C s + D g + F x        (s, g, x: deviations from the frozen point),

where A to F are derivatives of `optimizer.update` itself, applied to vectors by forward differentiation. On a quadratic
g = H x. A mode that is multiplied by z at each step has z s = A s + B g + E x, so that

    (z - 1 - K_x(z)) x = K_g(z) H x,    K_g(z) = D + C (z - A)^-1 B,    K_x(z) = F + C (z - A)^-1 E.

What curvature destabilizes oscillates from step to step: it leaves through z = -1. There the equation reads

    2 x = G H x,        G = 2 (2 + K_x(-1))^-1 (-K_g(-1)),

so the edge is where the largest eigenvalue of G H is 2. For gradient descent G = eta; for heavy ball eta / (1 + beta).

Nothing has to be frozen by hand. What a gradient adds to a second moment, (1 - beta_2) g^2, has derivative zero at a
zero gradient. So the second moment does not move; it is in D, as the preconditioner of this step: after its update by
that zero gradient, and with the bias correction of this step.
"""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._loss import measurable

LONGEST = 200
"""Iterations of `alternating` at most; 33 suffice in double precision where the state forgets monotonically."""


class Stateful(Protocol):
    """An `optax.GradientTransformation`, or anything with its two functions, such as `optax.MultiSteps`."""

    @property
    def init(self) -> Any: ...

    @property
    def update(self) -> Any: ...


class Push(Protocol):
    """(s, g, x) -> (A s + B g + E x, C s + D g + F x), each argument a pytree."""

    def __call__(self, state: PyTree, gradient: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]: ...


class Replies(NamedTuple):
    """What one step makes of a tangent, pytrees like the parameters.

    Attributes:
        at_once: D g, the part of the step that answers the gradient of this step.
        gradient: K_g(-1) g, the steady answer to a gradient g, -g, g, ...
        params: K_x(-1) x, the steady answer to parameters x, -x, x, ..., from weight decay for instance.
    """

    at_once: PyTree[Array]
    gradient: PyTree[Array]
    params: PyTree[Array]


def linear_step(
    optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int = 1, gradient: PyTree[Array] | None = None
) -> tuple[PyTree, Push]:
    """The derivative of one step of an optimizer with respect to state, gradient and parameters.

    Args:
        optimizer: with optax's two functions.
        state: of the optimizer, before the step. Integers in it, such as counts of steps, stay as they are.
        params: where the step is taken.
        calls: of `update` that make one step, all with the same gradient: k if gradients are accumulated over k.
        gradient: where to differentiate; zero by default.

    Returns:
        The state after the step with its integers, and the linear map; it lives inside the function that is compiled.
    """
    moving, fixed = eqx.partition(state, eqx.is_inexact_array)
    zero = jax.tree.map(jnp.zeros_like, params)

    def step(moving: PyTree, gradient: PyTree, params: PyTree) -> tuple[tuple[PyTree, PyTree], PyTree]:
        def call(_: Any, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
            state, total = carry
            updates, after = optimizer.update(gradient, state, params)
            after = jax.tree.map(_like, after, state)
            return after, jax.tree.map(lambda update, so_far: so_far + _like(update, so_far), updates, total)

        before = (eqx.combine(moving, fixed), zero)
        after, updates = call(0, before) if calls == 1 else jax.lax.fori_loop(0, calls, call, before)
        return (eqx.filter(after, eqx.is_inexact_array), updates), after

    _, push, after = jax.linearize(step, moving, zero if gradient is None else gradient, params, has_aux=True)
    return after, push


def alternating(push: Push, state: PyTree, gradient: PyTree[Array], params: PyTree[Array]) -> PyTree[Array]:
    """C s + D g + F x with (-1 - A) s = B g + E x: the steady answer to inputs that change sign at every step.

    Solved by s <- s - 2/3 (s + A s + B g + E x), one product each, entry by entry. The error along an eigenvector of A
    is multiplied by (1 - 2a)/3, a being its eigenvalue: at most 1/3 in modulus for a from 0 (what is forgotten) to 1
    (what is accumulated), and below 1 for every a of the unit disc but -1.

    Args:
        push: the linear step.
        state: any pytree like the floating part of the state, for its shapes.
        gradient, params: the inputs, pytrees like the parameters.

    Returns:
        A pytree like the parameters; NaN everywhere if the iteration did not settle.
    """
    zero = jax.tree.map(jnp.zeros_like, state)

    def advance(carry: tuple) -> tuple:
        s, largest, _, count = carry
        change = jax.tree.map(lambda s, image: (s + image) * (-2 / 3), s, push(s, gradient, params)[0])
        s = jax.tree.map(jnp.add, s, change)
        largest = jax.tree.map(lambda most, s: jnp.maximum(most, jnp.abs(s)), largest, s)
        return s, largest, _moves(change, largest), count + 1

    start = zero, zero, jnp.asarray(True), jnp.asarray(0)
    s, _, moves, _ = jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < LONGEST), advance, start)
    return jax.tree.map(lambda update: jnp.where(moves, jnp.nan, update), push(s, gradient, params)[1])


def replies(push: Push, state: PyTree, tangent: PyTree[Array]) -> Replies:
    """What the step makes of one tangent, taken as a gradient and as parameters."""
    moving = jax.tree.map(jnp.zeros_like, eqx.filter(state, eqx.is_inexact_array))
    nothing = jax.tree.map(jnp.zeros_like, tangent)
    return Replies(
        push(moving, tangent, nothing)[1],
        alternating(push, moving, tangent, nothing),
        alternating(push, moving, nothing, tangent),
    )


def gain(optimizer: Stateful, state: PyTree, params: PyTree[Array], calls: int = 1) -> PyTree[Array]:
    """The diagonal of G for an optimizer that works entry by entry: the edge is where l1(G^1/2 H G^1/2) is 2.

    It may be called inside a compiled function, with the state as it stands at each step of training: some thirty
    derivatives of `update` in double precision, each of them entry by entry, and memory for a few copies of the state.
    Nothing is checked here: see `eosbench.stability` for what an optimizer without a threshold is told.

    Args:
        optimizer: an `optax.GradientTransformation`.
        state: of the optimizer, before the step in question, and not that of `init`: where the second moment is zero,
            its square root has no derivative.
        params: where that step is taken.
        calls: of `update` that make one step, k if gradients are accumulated over k.

    Returns:
        A pytree like `params`, in units of 1/sharpness; NaN where the step has no derivative.

    Raises:
        TypeError, ValueError: `params` or `calls` has no answer, named in one sentence.
    """
    params = measurable(params)
    _, push = linear_step(optimizer, state, params, as_integer("calls", calls))
    _, k_g, k_x = replies(push, state, jax.tree.map(jnp.ones_like, params))
    return jax.tree.map(lambda k_g, k_x: -2 * k_g / (2 + k_x), k_g, k_x)


def _like(value: Array, model: Array) -> Array:
    """The same number in the precision of another, so that a step ends in the types in which it began."""
    return jnp.asarray(value, jnp.result_type(model))


def _moves(change: PyTree[Array], largest: PyTree[Array]) -> Bool[Array, ""]:
    """Whether any entry still changes by more than rounding; one that is not finite has stopped."""
    flags = jax.tree.map(lambda c, most: (jnp.abs(c) > 16 * jnp.finfo(c.dtype).eps * most).any(), change, largest)
    return jax.tree.reduce(jnp.logical_or, flags, jnp.asarray(False))
