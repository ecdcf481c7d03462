"""Phase II of Arora, Li and Panigrahi (2022): iterates drift along the manifold of minimizers."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Document, Source
from eosbench.dynamics import gd_step, iterate, limiting_flow, limiting_map, ngd_step, top_eigenvalue, trajectory
from eosbench.problems import curved_valley, valley, valley_limit, valley_log_sharpness_flow

slides = Document(
    "cho-slides", title="Understanding Gradient Descent on Edge of Stability in Deep Learning (presentation)"
)

ngd = Claim(
    "limiting-flow/ngd",
    source=Source(slides, "Results for Normalized GD (2), (3), Theorem 4.4 (1)"),
    printed=(
        r"Limiting Flow: $X(\tau) = \Phi(x_{init}) - \frac{1}{4} \int_0^\tau P_{X(s),\Gamma}^\perp \nabla \log "
        r"\lambda_1(X(s)) ds$. For any constant time $T_2 > 0$ till which it exists, "
        r"$\|\Phi(x_{\lfloor T_2/\eta^2 \rfloor}) - X(T_2)\| = O(\eta)$."
    ),
    expected="holds",
)

START = {valley: np.array([1.5, 0.7]), curved_valley: np.array([0.9, 0.7, 1.3, -0.6])}
PHASE_I = 2.0  # more than T_1, the length of gradient flow's path from either start
PHASE_II = 1.0


def limits(loss, x):
    """Φ of each of the points x: in closed form on the valley, by integration on the curved one."""
    if loss is valley:
        return valley_limit(x)
    return np.asarray(jax.vmap(lambda x: limiting_map(loss, x).point)(x))


def flow(loss, x, times, coefficient):
    """X at these times from Φ(x): in closed form on the valley, by integration on the curved one."""
    if loss is valley:
        y = valley_log_sharpness_flow(valley_limit(x)[0], times, coefficient)
        return np.stack([y, np.zeros_like(y)], axis=-1)
    return np.asarray(limiting_flow(loss, x, times, coefficient=coefficient, functional=jnp.log))


def nearest_time(path, times, point):
    """The time at which the polyline through `path` passes nearest to `point`."""
    ahead, offset = np.diff(path, axis=0), point - path[:-1]
    share = np.clip((offset * ahead).sum(1) / (ahead**2).sum(1), 0, 1)
    nearest = np.argmin(np.linalg.norm(share[:, None] * ahead - offset, axis=1))
    return times[nearest] + share[nearest] * np.diff(times)[nearest]


@ngd.check(
    loss=[curved_valley, valley],
    etas=(0.02, 0.01, 0.005, 0.0025),
    controls={
        "plain gradient descent does not move": dict(step=gd_step),
        "half the coefficient": dict(coefficient=1 / 8),
        "double the coefficient": dict(coefficient=1 / 2),
    },
)
def test_the_limit_of_the_iterate_follows_the_flow(evidence, loss, etas, coefficient=1 / 4, step=ngd_step):
    after = [iterate(step(loss, eta), START[loss], PHASE_I / eta) for eta in etas]
    last = [iterate(step(loss, eta), x, PHASE_II / eta**2) for x, eta in zip(after, etas, strict=True)]
    reached = limits(loss, np.stack(last))

    times = np.linspace(0, 2 * PHASE_II, 401)
    predicted = flow(loss, START[loss], times, coefficient)[200]
    error = np.linalg.norm(reached - predicted, axis=1)
    evidence.bounded_by("‖Φ(x) - X(T_2)‖", error, etas, constant=1.0)

    # With another coefficient X passes through the same points at another time, so the time at which it passes the
    # limit reached measures the coefficient. It starts from Φ at the end of Phase I, which that phase moved by O(eta).
    passed = [nearest_time(flow(loss, x, times, coefficient), times, y) for x, y in zip(after, reached, strict=True)]
    evidence.constant("1/4 in the limiting flow", coefficient, coefficient * np.array(passed) / PHASE_II, 1e-3)

    sharpness = jax.jit(jax.vmap(lambda x: top_eigenvalue(loss, x)))
    eta, every = etas[1], 200
    x = trajectory(step(loss, eta), after[1], int(PHASE_II / eta**2), every=every)
    axes = ("time eta² t", "λ_1(Φ(x_t))")
    evidence.series(
        f"eta = {eta:g}", eta**2 * every * np.arange(len(x)), sharpness(limits(loss, x)), axes=axes, style="points"
    )
    evidence.series("limiting flow", times[:201], sharpness(flow(loss, after[1], times, coefficient)[:201]), axes=axes)
    axes = ("eta", "‖Φ(x) - X(T_2)‖")
    evidence.series("error", etas, error, axes=axes, style="points", scale="loglog")
    evidence.series("slope 1", etas, error[0] * np.array(etas) / etas[0], axes=axes, style="reference", scale="loglog")
