"""Normalized gradient descent in Phase I."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import (
    gd_step,
    gradient_flow,
    ngd_step,
    path_integral,
    projection_excess,
    trajectory,
)
from eosbench.problems import curved_valley, rippled_trough, skewed_valley, valley

from .setting import ETAS, START, across_the_manifold, first_rise


def path_length_rate(loss):
    """The rate at which gradient flow's path grows longer: normalized gradient descent moves at unit rate along it."""
    return lambda x: jnp.linalg.norm(jax.grad(loss)(x))


def by_length(path):
    """The polyline through `path`, as a function of the length covered."""
    covered = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return lambda length: np.stack([np.interp(length, covered, coordinate) for coordinate in path.T], axis=-1)


ngd_reaches_manifold = Claim(
    "phase-one/ngd-reaches-manifold",
    source=Source("cho-slides", "Results for Normalized GD (1), Theorem 4.3 (1)"),
    printed=(
        r"There is a constant $T_1 > 0$ such that for any $T_1' > T_1$ and a sufficiently small LR $\eta > 0$: "
        r"$\max_{t \in [T_1/\eta, T_1'/\eta]} \|x_t - \Phi(x_{\text{init}})\| \leq \mathcal{O}(\eta)$."
    ),
    expected="holds",
)


@ngd_reaches_manifold.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=ETAS,
    controls={
        "0.8 T_1 instead of T_1": dict(window=(0.8, 0.9)),
        "plain gradient descent": dict(step=gd_step),
        "T_1 two per cent too long": dict(stretch=1.02),
    },
)
def test_near_the_manifold_after_the_length_of_the_path(
    evidence, loss, etas, window=(1.1, 2.0), step=ngd_step, stretch=1.0
):
    limit, _, across = across_the_manifold(loss)
    length = stretch * float(path_integral(loss, START[loss], path_length_rate(loss)))
    flow_at = by_length(np.asarray(gradient_flow(loss, START[loss], np.linspace(0, 4, 4001))))
    steps = round(window[1] * length / min(etas))
    distances, deviations, times, sums = [], [], [], []
    for eta in etas:
        x = np.asarray(trajectory(step(loss, eta), START[loss], steps))
        begin, end = round(window[0] * length / eta), round(window[1] * length / eta)
        distances.append(np.linalg.norm(x[begin : end + 1] - limit, axis=1).max())
        normal = np.linalg.norm((x[begin : end + 1] - limit) @ across, axis=1)
        sums.append(np.median(normal[1:] + normal[:-1]))
        t = np.arange(round(0.8 * length / eta))
        deviations.append(np.linalg.norm(x[t] - flow_at(eta * t), axis=1).max())
        times.append(eta * first_rise(loss, x))
    evidence.at_most("‖x_t - Φ(x_init)‖ / eta for t in [1.1 T_1/eta, 2 T_1/eta]", np.array(distances) / etas, 5)
    # A step is eta long, and so no two consecutive iterates are both nearer than eta/2: the order is eta.
    evidence.constant("1 in 1 eta, two consecutive distances across Γ", 1.0, np.array(sums) / etas, 0.001)
    evidence.bounded_by("distance from the path of gradient flow until 0.8 T_1/eta", deviations, etas, constant=1.0)
    # The path ends where the loss first rises, to within a step or two.
    evidence.constant("T_1 over the length of the path", 1.0, times[-1] / length, 0.005)

    axes = ("eta", "distance")
    evidence.series("from Φ(x_init)", etas, distances, axes=axes, style="points", scale="loglog")
    evidence.series("from gradient flow", etas, deviations, axes=axes, style="points", scale="loglog")


@eqx.filter_jit
def excess_along(loss, x, eta):
    return jax.vmap(lambda x: projection_excess(loss, x, eta))(x)


projections = Claim(
    "phase-one/projections",
    source=Source("cho-slides", "Results for Normalized GD (1), Theorem 4.3 (2)"),
    printed=r"$\max_{t \in [T_1/\eta, T_1'/\eta], j \in [D]} R_j(x_t) \leq \mathcal{O}(\eta^2)$.",
    expected="holds",
    coarse=(
        r"The exponent of $\eta^2$ is not told, as no $R_j$ was above zero but for rounding, so that any order would "
        r"pass; the factor 1 of $\lambda_j \eta$ in $R_j$ is told to 0.5 %."
    ),
)


@projections.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=ETAS,
    controls={
        "0.8 T_1 instead of T_1": dict(window=(0.8, 0.9)),
        "plain gradient descent": dict(step=gd_step),
        "λ_j+1 in place of λ_j": dict(shift=1),
    },
)
def test_projections_on_lower_eigenspaces(evidence, loss, etas, window=(1.1, 2.0), step=ngd_step, shift=0):
    """From the start; and next to Γ, from where a step leads as far out as R_j <= 0 allows."""
    length = float(path_integral(loss, START[loss], path_length_rate(loss)))
    limit, spectrum, across = across_the_manifold(loss)
    wrong = spectrum - np.append(spectrum[shift:], np.zeros(shift))
    steps = round(window[1] * length / min(etas))
    largest, reached = [], []
    for eta in etas:
        x = trajectory(step(loss, eta), START[loss], steps)
        sampled = np.linspace(window[0] * length / eta, window[1] * length / eta, 100).astype(int)
        largest.append(np.max(excess_along(loss, x[sampled], jnp.asarray(eta)) + eta * wrong))
        for j, v_j in enumerate(across.T):
            near = trajectory(step(loss, eta), limit + 1e-4 * eta * v_j, 100)[1:]
            excess = np.max(excess_along(loss, near, jnp.asarray(eta)) + eta * wrong, axis=0)
            largest[-1] = max(largest[-1], excess.max())
            reached.append(1 + excess[j] / (eta * spectrum[j]))
    evidence.at_most("max R_j / eta²", np.array(largest) / np.array(etas) ** 2, 1)
    evidence.constant("1 in ‖projection of x̃‖ <= 1 λ_j eta, next to Γ", 1.0, reached, 0.005)
