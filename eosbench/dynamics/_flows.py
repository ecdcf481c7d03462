"""Gradient flow, its limiting map Φ, and the flows of Phase II on a manifold of minimizers Γ (Arora et al. 2022).

All integration is diffrax's, with error control. Tangent spaces come from the dense Hessian, so these are tools for
problems of at most a few hundred parameters, in float64.
"""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from eosbench.curvature._program import compiled, read, read_loss
from eosbench.dynamics._maps import Loss

_NULL = 1e-4
"""Hessian eigenvalues below this fraction of the largest span the tangent space of Γ."""


class Limit(eqx.Module):
    """Where gradient flow ends.

    Attributes:
        point: shape (p,), the minimizer Φ(x).
        error: an estimate of its distance from the exact limit, by a second integration at looser tolerances.
    """

    point: Float[Array, "p"]
    error: Float[Array, ""]


def gradient_flow(
    loss: Loss,
    x0: Float[ArrayLike, "p"],
    times: Float[ArrayLike, "times"],
    *,
    rtol: float = 1e-9,
    atol: float = 1e-11,
    solver: diffrax.AbstractAdaptiveSolver | None = None,
) -> Float[Array, "times p"]:
    """Solution of `x' = -∇L(x), x(0) = x0` at increasing `times`.

    The default solver is the explicit `diffrax.Tsit5()`; pass `diffrax.Kvaerno5()` for a stiff problem.
    """
    return _gradient_flow(loss, jnp.asarray(x0), jnp.asarray(times), rtol, atol, solver or diffrax.Tsit5())


def path_integral(
    loss: Loss,
    x0: Float[ArrayLike, "p"],
    integrand: Callable[[Float[Array, "p"]], Float[Array, ""]],
    *,
    tolerance: float = 1e-9,
) -> Float[Array, ""]:
    """`∫ integrand(x(t)) dt` over the whole of gradient flow from x0, for an integrand that vanishes at minimizers.

    With the gradient's norm it is the length of the path: the time T_1 that normalized gradient descent takes to Γ, in
    units of eta per step (Arora et al. 2022, theorem 4.3). With 2 √L it is that time for gradient descent on √L.
    A flow that does not converge gives nan.
    """
    x0 = jnp.asarray(x0)
    return _path_integral(loss, x0, read(integrand, x0), tolerance)


@compiled
def _path_integral(
    loss: Loss, x0: Float[Array, "p"], integrand: Callable[[Float[Array, "p"]], Float[Array, ""]], tolerance: float
) -> Float[Array, ""]:
    # Beyond this the path is a tail of the same relative length; atol lets the solver resolve it.
    reach = 10 * tolerance * jnp.linalg.norm(jax.grad(loss)(x0))

    def near(t: Float[Array, ""], state: tuple, args: None, **kwargs: object) -> Bool[Array, ""]:
        return jnp.linalg.norm(jax.grad(loss)(state[0])) < reach

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, state, _: (-jax.grad(loss)(state[0]), integrand(state[0]))),
        diffrax.Tsit5(),
        t0=0.0,
        t1=jnp.inf,
        dt0=None,
        y0=(x0, jnp.zeros((), x0.dtype)),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=0.01 * tolerance),
        event=diffrax.Event(near),
        max_steps=100_000,
        throw=False,
    )
    assert solution.ys is not None
    return jnp.where(solution.result == diffrax.RESULTS.event_occurred, solution.ys[1][-1], jnp.nan)


def limiting_map(loss: Loss, x: Float[ArrayLike, "p"], *, tolerance: float = 1e-9) -> Limit:
    """Φ(x), the limit of gradient flow from x, for x in the attraction set of Γ.

    The flow is integrated to relative accuracy `tolerance` until it is within reach of Newton's method: from a distance
    d of Γ the step `-H⁺ ∇L` ends O(d²) from the limit. A point from which the flow does not converge gives nan.
    """
    return _limiting_map(loss, jnp.asarray(x), tolerance)


@compiled
def _limiting_map(loss: Loss, x: Float[Array, "p"], tolerance: float) -> Limit:
    fine, coarse = jax.vmap(lambda tolerance: _limit(loss, x, tolerance))(tolerance * jnp.array([1.0, 30.0]))
    return Limit(fine, jnp.linalg.norm(fine - coarse))


@compiled
def tangent_projection(loss: Loss, x: Float[Array, "p"]) -> Float[Array, "p p"]:
    """P⊥, the orthogonal projection onto the tangent space at x of Γ: the null space of the Hessian there."""
    eigenvalues, vectors = _eigh(loss, x)
    tangent = jnp.where(_is_null(eigenvalues), vectors, 0)
    return tangent @ tangent.T


def limiting_flow(
    loss: Loss,
    x0: Float[ArrayLike, "p"],
    times: Float[ArrayLike, "times"],
    *,
    coefficient: Float[ArrayLike, ""],
    functional: Callable[[Float[Array, ""]], Float[Array, ""]],
    rtol: float = 1e-8,
    atol: float = 1e-10,
) -> Float[Array, "times p"]:
    """The flow `X' = -coefficient P⊥ ∇ functional(λ_1(∇²L(X)))` on Γ from `X(0) = Φ(x0)`, at increasing `times`.

    In Phase II normalized gradient descent follows it with coefficient 1/4 and `jnp.log`, gradient descent on √L with
    1/8 and the identity (Arora, Li and Panigrahi 2022, theorem 4.4 and its analogue); its time is eta² per step. λ_1
    has to be simple along the flow.

    Raises equinox.EquinoxRuntimeError if gradient flow from x0 does not converge.
    """
    x0, coefficient = jnp.asarray(x0), jnp.asarray(coefficient, float)
    functional = read_loss(functional, jnp.zeros((), x0.dtype))
    return _limiting_flow(loss, x0, jnp.asarray(times), coefficient, functional, rtol, atol)


@compiled
def _gradient_flow(
    loss: Loss,
    x0: Float[Array, "p"],
    times: Float[Array, "times"],
    rtol: float,
    atol: float,
    solver: diffrax.AbstractAdaptiveSolver,
) -> Float[Array, "times p"]:
    return _integrate(lambda x: -jax.grad(loss)(x), x0, times, rtol, atol, solver)


@compiled
def _limiting_flow(
    loss: Loss,
    x0: Float[Array, "p"],
    times: Float[Array, "times"],
    coefficient: Float[Array, ""],
    functional: Callable[[Float[Array, ""]], Float[Array, ""]],
    rtol: float,
    atol: float,
) -> Float[Array, "times p"]:
    def velocity(x: Float[Array, "p"]) -> Float[Array, "p"]:
        eigenvalues, vectors = _eigh(loss, x)
        top, v = eigenvalues[-1], vectors[:, -1]
        # The gradient of a simple eigenvalue is ∇³L(v, v): holding v fixed avoids the derivative of the null space,
        # which is not defined.
        gradient = jax.grad(functional)(top) * jax.grad(lambda x: v @ _hessian_vector(loss, x, v))(x)
        tangent = jnp.where(_is_null(eigenvalues), vectors, 0)
        return -coefficient * tangent @ (tangent.T @ gradient)

    start = _limit(loss, x0, jnp.asarray(1e-9))
    start = eqx.error_if(start, jnp.isnan(start), "gradient flow from x0 does not converge to a minimizer")
    path = _integrate(velocity, start, times, rtol, atol, diffrax.Tsit5())
    return jax.vmap(lambda x: _to_manifold(loss, x))(path)


def _integrate(
    velocity: Callable[[Float[Array, "p"]], Float[Array, "p"]],
    x0: Float[Array, "p"],
    times: Float[Array, "times"],
    rtol: float,
    atol: float,
    solver: diffrax.AbstractAdaptiveSolver,
) -> Float[Array, "times p"]:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, _: velocity(x)),
        solver,
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=x0,
        saveat=diffrax.SaveAt(ts=times),
        # Ending a step at every time asked for keeps the interpolant's larger error out of the result.
        stepsize_controller=diffrax.ClipStepSizeController(diffrax.PIDController(rtol=rtol, atol=atol), step_ts=times),
        max_steps=10_000,
    )
    assert solution.ys is not None
    return solution.ys


def _limit(loss: Loss, x: Float[Array, "p"], tolerance: Float[Array, ""]) -> Float[Array, "p"]:
    # Newton's error is the square of the distance that remains, which ‖∇L‖/‖∇²L‖ measures.
    reach = 0.1 * jnp.sqrt(tolerance) * jnp.linalg.norm(jax.hessian(loss)(x))

    def near(t: Float[Array, ""], y: Float[Array, "p"], args: None, **kwargs: object) -> Bool[Array, ""]:
        return jnp.linalg.norm(jax.grad(loss)(y)) < reach

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: -jax.grad(loss)(y)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=jnp.inf,
        dt0=None,
        y0=x,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        event=diffrax.Event(near),
        max_steps=100_000,
        throw=False,
    )
    assert solution.ys is not None
    converged = solution.result == diffrax.RESULTS.event_occurred
    return jnp.where(converged, _to_manifold(loss, solution.ys[-1]), jnp.nan)


def _to_manifold(loss: Loss, x: Float[Array, "p"]) -> Float[Array, "p"]:
    """One Newton step across Γ, leaving the tangential coordinates alone."""
    eigenvalues, vectors = _eigh(loss, x)
    inverse = jnp.where(_is_null(eigenvalues), 0, 1 / eigenvalues)
    return x - vectors @ (inverse * (vectors.T @ jax.grad(loss)(x)))


def _eigh(loss: Loss, x: Float[Array, "p"]) -> tuple[Float[Array, "p"], Float[Array, "p p"]]:
    return jnp.linalg.eigh(jax.hessian(loss)(x))


def _is_null(eigenvalues: Float[Array, "p"]) -> Bool[Array, "p"]:
    return jnp.abs(eigenvalues) < _NULL * eigenvalues[-1]


def _hessian_vector(loss: Loss, x: Float[Array, "p"], v: Float[Array, "p"]) -> Float[Array, "p"]:
    return jax.jvp(jax.grad(loss), (x,), (v,))[1]
