"""The iterates of either method drift along the manifold of minimizers, as a flow there does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from eosbench import Claim, Source
from eosbench.curvature import dense_sharpness
from eosbench.dynamics import gd_step, iterate, limiting_flow, limiting_map, ngd_step, sqrt_gd_step, trajectory
from eosbench.problems import (
    curved_valley,
    digits,
    rippled_trough,
    rippled_trough_log_sharpness_flow,
    rippled_trough_sharpness_flow,
    valley,
    valley_limit,
    valley_log_sharpness_flow,
    valley_sharpness_flow,
)

HIDDEN, FEATURES, DIGITS = 10, 10, 20


@functools.cache
def parities():
    """Ten principal components of twenty handwritten digits, and ±0.7 for even and odd ones."""
    images, labels = digits(DIGITS)
    return np.linalg.svd(images.astype(float))[0][:, :FEATURES] * DIGITS**0.5, 0.7 * (-1.0) ** labels.argmax(1)


def digit_network(x):
    """½ of the mean squared error of a tanh network with 120 parameters: Γ has codimension 20, one for each digit."""
    inputs, targets = parities()
    weights, biases, readout = jnp.split(x, [HIDDEN * FEATURES, HIDDEN * (FEATURES + 1)])
    return jnp.mean((jnp.tanh(inputs @ weights.reshape(HIDDEN, FEATURES).T + biases) @ readout - targets) ** 2) / 2


@functools.cache
def start(loss):
    """Where Phase I begins."""
    if loss is valley:
        return np.array([1.5, 0.7])
    if loss is curved_valley:
        return np.array([0.9, 0.7, 1.3, -0.6])
    if loss is rippled_trough:
        return np.array([0.3, 0.7, -0.4])
    random = np.random.default_rng(0)
    minimizer = limiting_map(loss, random.normal(scale=0.7, size=HIDDEN * (FEATURES + 2))).point
    return np.asarray(minimizer) + random.normal(scale=0.03, size=minimizer.size)


# More than T_1, in units of eta per step: the time that either method takes to Γ.
PHASE_I = {valley: 2.0, curved_valley: 2.0, rippled_trough: 2.0, digit_network: 1.0}
PHASE_II = 1.0  # T_2
CODIMENSION = {valley: 1, curved_valley: 2, rippled_trough: 2, digit_network: DIGITS}


def limits(loss, x):
    """Φ of each of the points x: in closed form on the valley, by integration elsewhere."""
    if loss is valley:
        return valley_limit(x)
    return np.stack([limiting_map(loss, point).point for point in x])


def identity(sharpness):
    return sharpness


CLOSED_FORM = {
    (valley, jnp.log): valley_log_sharpness_flow,
    (valley, identity): valley_sharpness_flow,
    (rippled_trough, jnp.log): rippled_trough_log_sharpness_flow,
    (rippled_trough, identity): rippled_trough_sharpness_flow,
}


def flow(loss, x, times, coefficient, functional):
    """X at these times from Φ(x): in closed form where it is known, else by integration."""
    if (loss, functional) in CLOSED_FORM:
        y = CLOSED_FORM[loss, functional](limits(loss, x[None])[0, 0], times, coefficient)
        return np.pad(y[:, None], [(0, 0), (0, len(x) - 1)])
    return np.asarray(limiting_flow(loss, x, times, coefficient=coefficient, functional=functional))


def nearest_time(path, times, point):
    """The time at which the cubic spline through `path` passes nearest to `point`."""
    spline, fine = CubicSpline(times, path), np.linspace(times[0], times[-1], 2001)
    nearest = fine[np.argmin(np.linalg.norm(spline(fine) - point, axis=1))]
    # One step of Newton's method on the orthogonality of the velocity and what is left.
    velocity = spline(nearest, 1)
    return nearest + velocity @ (point - spline(nearest)) / (velocity @ velocity)


def record_drift(evidence, loss, etas, step, coefficient, functional, name, tolerance):
    """Compare Φ of the iterate with X after T_2/eta² steps, and find the coefficient with which X gets as far."""
    after = [iterate(step(loss, eta), start(loss), PHASE_I[loss] / eta) for eta in etas]
    last = [iterate(step(loss, eta), x, PHASE_II / eta**2) for x, eta in zip(after, etas, strict=True)]
    reached = limits(loss, np.stack(last))

    times = np.linspace(0, 2 * PHASE_II, 17)  # twice as long, since the coefficient may be too small
    path = flow(loss, start(loss), times, coefficient, functional)[:9]
    eigenvalues = jax.jit(lambda x: jnp.linalg.eigvalsh(jax.hessian(loss)(x)))
    spectrum = np.stack([eigenvalues(x) for x in path])
    across = (spectrum > 1e-4 * spectrum[:, -1:]).sum(1)
    evidence.requires(f"Γ has codimension {CODIMENSION[loss]}", np.all(across == CODIMENSION[loss]))
    evidence.requires("λ_2 < 0.98 λ_1 along the flow", np.all(spectrum[:, -2] < 0.98 * spectrum[:, -1]))
    error = np.linalg.norm(reached - path[-1], axis=1)
    evidence.bounded_by("‖Φ(x) - X(T_2)‖", error, etas, constant=1.0)

    # With another coefficient X passes through the same points at another time, so the time at which it passes the
    # limit reached measures the coefficient. It starts from Φ at the end of Phase I, which that phase moved by O(eta).
    paths = [flow(loss, x, times, coefficient, functional) for x in after]
    passed = [nearest_time(path, times, y) for path, y in zip(paths, reached, strict=True)]
    evidence.constant(name, coefficient, coefficient * np.array(passed) / PHASE_II, tolerance)

    eta, steps = etas[1], int(PHASE_II / etas[1] ** 2)
    x = limits(loss, trajectory(step(loss, eta), after[1], steps, every=steps // 50))
    axes = ("time eta² t", "λ_1(Φ(x_t))")
    measured, predicted = ([eigenvalues(x)[-1] for x in points] for points in (x, paths[1][:9]))
    evidence.series(f"eta = {eta:g}", eta**2 * (steps // 50) * np.arange(len(x)), measured, axes=axes, style="points")
    evidence.series("limiting flow", times[:9], predicted, axes=axes)
    axes = ("eta", "‖Φ(x) - X(T_2)‖")
    evidence.series("error", etas, error, axes=axes, style="points", scale="loglog")
    evidence.series("slope 1", etas, error[0] * np.array(etas) / etas[0], axes=axes, style="reference", scale="loglog")


ngd = Claim(
    "limiting-flow/ngd",
    source=Source("cho-slides", "Results for Normalized GD (2), (3), Theorem 4.4 (1)"),
    printed=(
        r"Limiting Flow: $X(\tau) = \Phi(x_{init}) - \frac{1}{4} \int_0^\tau P_{X(s),\Gamma}^\perp \nabla \log "
        r"\lambda_1(X(s)) ds$. For any constant time $T_2 > 0$ till which the solution of the limiting flow exists, "
        r"for sufficiently small $\eta > 0$, with probability at least $1 - \mathcal{O}(\eta^{10})$, the iterates of "
        r"perturbed Normalized GD satisfy $\|\Phi(x_{\lfloor T_2/\eta^2 \rfloor}) - X(T_2)\| = O(\eta)$. [Here "
        r"rounding is the perturbation; what noise is needed for, see limiting-flow/perturbation.]"
    ),
    expected="holds",
    uses=("phase-one/ngd-reaches-manifold",),
)


@ngd.check(
    loss=[curved_valley, valley, rippled_trough, digit_network],
    etas=(0.02, 0.01, 0.005, 0.0025),
    controls={
        "plain gradient descent does not move": dict(step=gd_step),
        "half the coefficient": dict(coefficient=1 / 8),
        "double the coefficient": dict(coefficient=1 / 2),
    },
)
def test_the_limit_of_the_iterate_follows_the_flow(evidence, loss, etas, coefficient=1 / 4, step=ngd_step):
    record_drift(evidence, loss, etas, step, coefficient, jnp.log, "1/4 in the limiting flow", 1e-3)


sqrt = Claim(
    "limiting-flow/sqrt",
    source=Source("cho-slides", "Results for GD on √L, Phase II"),
    printed=(
        r"[GD on $\sqrt{L}$:] Loss (non-monotonically) decreases as the loss sharpness decreases via limiting flow. "
        r"[The flow is not printed; derived as that of Normalized GD, it is $X' = -\frac{1}{8} P_{X,\Gamma}^\perp "
        r"\nabla \lambda_1(X)$.]"
    ),
    expected="holds",
    uses=("phase-one/sqrt-monotone",),
)


@sqrt.check(
    loss=[curved_valley, valley, rippled_trough, digit_network],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={
        "normalized gradient descent instead": dict(step=ngd_step),
        "half the coefficient": dict(coefficient=1 / 16),
        "double the coefficient": dict(coefficient=1 / 4),
        "the gradient of log λ_1 instead": dict(functional=jnp.log),
    },
)
def test_the_limit_of_the_iterate_follows_the_flow_of_the_root(
    evidence, loss, etas, coefficient=1 / 8, step=sqrt_gd_step, functional=identity
):
    record_drift(evidence, loss, etas, step, coefficient, functional, "1/8 in the limiting flow", 1.25e-3)


sharpness_rate = Claim(
    "limiting-flow/sharpness-rate",
    source=Source("arora-talk", "Phase 2, item 2"),
    printed=r"For $\Theta(1/\eta^2)$ steps, $\lambda_{max}(\nabla^2 L)$ decreases at a rate $\Theta(\eta^2)$.",
    expected="holds",
    uses=("limiting-flow/ngd", "limiting-flow/sqrt"),
)


@sharpness_rate.check(
    loss=[curved_valley, valley, rippled_trough],
    step=[sqrt_gd_step, ngd_step],
    etas=(0.02, 0.01, 0.005, 0.0025),
    controls={"Phase I": dict(skip=0.0, order=1), "plain gradient descent": dict(step=gd_step)},
)
def test_sharpness_falls_by_a_multiple_of_eta_squared_per_step(evidence, loss, step, etas, skip=1.0, order=2):
    falls, shares = [], []
    for eta in etas:
        x = iterate(step(loss, eta), start(loss), skip * PHASE_I[loss] / eta)
        y = iterate(step(loss, eta), x, PHASE_II / eta**order)
        before, after = (float(dense_sharpness(loss, point)) for point in (x, y))
        falls.append((before - after) / (PHASE_II / eta**order))
        shares.append(1 - after / before)
    # Any change over 1/eta² steps has the exponent 2: it must be a fall, and one that does not vanish with eta.
    evidence.at_least("fall of λ_1 over 1/eta² steps, of its value", shares, 0.1)
    evidence.rate("fall of λ_1 per step", etas, np.abs(falls), exponent=2, tolerance=0.04)
    axes = ("eta", "fall of λ_1 per step")
    evidence.series("measured", etas, falls, axes=axes, style="points", scale="loglog")
    evidence.series(
        "slope 2", etas, falls[0] * (np.array(etas) / etas[0]) ** 2, axes=axes, style="reference", scale="loglog"
    )
