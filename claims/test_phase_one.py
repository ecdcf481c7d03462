"""Phase I of Arora, Li and Panigrahi (2022): the iterates follow gradient flow down to the manifold of minimizers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import (
    gd_step,
    gradient_flow,
    limiting_map,
    ngd_step,
    path_integral,
    projection_excess,
    sqrt_gd_step,
    trajectory,
)
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

reaches = Claim(
    "phase-one/ngd-reaches-manifold",
    source=Source("cho-slides", "Results for Normalized GD (1), Theorem 4.3 (1)"),
    printed=(
        r"There is a constant $T_1 > 0$ such that for any $T_1' > T_1$ and a sufficiently small LR $\eta > 0$: "
        r"$\max_{t \in [T_1/\eta, T_1'/\eta]} \|x_t - \Phi(x_{\text{init}})\| \leq \mathcal{O}(\eta)$."
    ),
    expected="holds",
)

projections = Claim(
    "phase-one/projections",
    source=Source("cho-slides", "Results for Normalized GD (1), Theorem 4.3 (2)"),
    printed=r"$\max_{t \in [T_1/\eta, T_1'/\eta], j \in [D]} R_j(x_t) \leq \mathcal{O}(\eta^2)$.",
    expected="holds",
)

monotone = Claim(
    "phase-one/sqrt-monotone",
    source=Source("arora-talk", "Phase 1"),
    printed=r"Loss monotonically decreases till it becomes $\mathcal{O}(\eta)$ in $\Theta(1/\eta)$ steps.",
    expected="holds",
)

START = {
    curved_valley: np.array([0.9, 0.7, 1.3, -0.6]),
    valley: np.array([1.5, 0.7]),
    skewed_valley: np.array([1.2, -0.9]),
    rippled_trough: np.array([0.3, 0.7, -0.4]),
    raised_valley: np.array([1.5, 0.7]),
}
ETAS = (0.02, 0.01, 0.005, 0.0025)


def path_length_rate(loss):
    """The rate at which gradient flow's path grows longer: normalized gradient descent moves at unit rate along it."""
    return lambda x: jnp.linalg.norm(jax.grad(loss)(x))


def root_rate(loss, factor):
    """Gradient flow on √L is that on L, slowed by ``2 √L``."""
    return lambda x: factor * jnp.sqrt(loss(x))


def by_length(path):
    """The polyline through `path`, as a function of the length covered."""
    covered = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return lambda length: np.stack([np.interp(length, covered, coordinate) for coordinate in path.T], axis=-1)


def first_rise(loss, x):
    """The first index after which the loss is larger than at it; the last one if it never rises."""
    rises = np.flatnonzero(np.diff(loss_along(loss, x)) > 0)
    return rises[0] if rises.size else len(x) - 1


@eqx.filter_jit
def loss_along(loss, x):
    return jax.vmap(loss)(x)


@eqx.filter_jit
def excess_along(loss, x, eta):
    return jax.vmap(lambda x: projection_excess(loss, x, eta))(x)


@reaches.check(
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
    limit = np.asarray(limiting_map(loss, START[loss]).point)
    length = stretch * float(path_integral(loss, START[loss], path_length_rate(loss)))
    flow_at = by_length(np.asarray(gradient_flow(loss, START[loss], np.linspace(0, 4, 4001))))
    steps = round(window[1] * length / min(etas))
    distances, deviations, times = [], [], []
    for eta in etas:
        x = np.asarray(trajectory(step(loss, eta), START[loss], steps))
        begin, end = round(window[0] * length / eta), round(window[1] * length / eta)
        distances.append(np.linalg.norm(x[begin : end + 1] - limit, axis=1).max())
        t = np.arange(round(0.8 * length / eta))
        deviations.append(np.linalg.norm(x[t] - flow_at(eta * t), axis=1).max())
        times.append(eta * first_rise(loss, x))
    evidence.at_most("‖x_t - Φ(x_init)‖ / eta for t in [1.1 T_1/eta, 2 T_1/eta]", np.array(distances) / etas, 5)
    evidence.bounded_by("distance from the path of gradient flow until 0.8 T_1/eta", deviations, etas, constant=1.0)
    # The path ends where the loss first rises, to within a step or two.
    evidence.constant("T_1 over the length of the path", 1.0, times[-1] / length, 0.005)

    axes = ("eta", "distance")
    evidence.series("from Φ(x_init)", etas, distances, axes=axes, style="points", scale="loglog")
    evidence.series("from gradient flow", etas, deviations, axes=axes, style="points", scale="loglog")


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
    length = float(path_integral(loss, START[loss], path_length_rate(loss)))
    limit = limiting_map(loss, START[loss]).point
    spectrum = np.linalg.eigvalsh(jax.hessian(loss)(limit))[::-1]
    wrong = spectrum - np.append(spectrum[shift:], np.zeros(shift))
    steps = round(window[1] * length / min(etas))
    largest = []
    for eta in etas:
        x = trajectory(step(loss, eta), START[loss], steps)
        sampled = np.linspace(window[0] * length / eta, window[1] * length / eta, 100).astype(int)
        largest.append(np.max(excess_along(loss, x[sampled], jnp.asarray(eta)) + eta * wrong))
    evidence.at_most("max R_j / eta²", np.array(largest) / np.array(etas) ** 2, 1)


@monotone.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=ETAS,
    controls={
        "plain gradient descent": dict(step=gd_step),
        "the constant a square root of two off": dict(factor=2**0.5),
        "the minimum is not zero": dict(loss=raised_valley),
    },
)
def test_the_root_falls_until_it_is_of_order_eta(evidence, loss, etas, step=sqrt_gd_step, factor=2.0):
    duration = float(path_integral(loss, START[loss], root_rate(loss, factor)))
    steps = round(3 * duration / min(etas))
    times, roots = [], []
    for eta in etas:
        x = trajectory(step(loss, eta), START[loss], steps)
        rise = first_rise(loss, x)
        times.append(eta * rise)
        roots.append(float(jnp.sqrt(loss(x[rise]))))
        values = np.sqrt(loss_along(loss, x))[: round(1.5 * duration / eta)]
        evidence.series(
            f"eta = {eta:g}", eta * np.arange(len(values)), values, axes=("time eta t", "√L"), scale="semilogy"
        )
    evidence.at_most("√L at its first rise, over eta", np.array(roots) / etas, 3)
    evidence.constant("T_1 over ∫ 2 √L dt", 1.0, times[-1] / duration, 0.005)
