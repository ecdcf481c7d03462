"""Phase II of Arora, Li and Panigrahi (2022): iterates drift along the manifold of minimizers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import (
    angle_to_top,
    gd_step,
    iterate,
    limiting_flow,
    limiting_map,
    ngd_step,
    sqrt_gd_step,
    top_eigenvalue,
    trajectory,
)
from eosbench.problems import (
    curved_valley,
    digits,
    rippled_trough,
    rippled_trough_log_sharpness_flow,
    rippled_trough_sharpness_flow,
    two_valleys,
    valley,
    valley_limit,
    valley_log_sharpness_flow,
    valley_sharpness_flow,
)

ngd = Claim(
    "limiting-flow/ngd",
    source=Source("cho-slides", "Results for Normalized GD (2), (3), Theorem 4.4 (1)"),
    printed=(
        r"Limiting Flow: $X(\tau) = \Phi(x_{init}) - \frac{1}{4} \int_0^\tau P_{X(s),\Gamma}^\perp \nabla \log "
        r"\lambda_1(X(s)) ds$. For any constant time $T_2 > 0$ till which the solution of the limiting flow exists, "
        r"for sufficiently small $\eta > 0$, with probability at least $1 - \mathcal{O}(\eta^{10})$, the iterates of "
        r"perturbed Normalized GD satisfy $\|\Phi(x_{\lfloor T_2/\eta^2 \rfloor}) - X(T_2)\| = O(\eta)$. "
        r"[Here rounding is the perturbation; what noise is needed for, see limiting-flow/perturbation.]"
    ),
    expected="holds",
    uses=("phase-one/ngd-reaches-manifold",),
)

sqrt = Claim(
    "limiting-flow/sqrt",
    source=Source("cho-slides", "Results for GD on √L, Phase II"),
    printed=(
        r"[GD on $\sqrt{L}$:] Loss (non-monotonically) decreases as the loss sharpness decreases via limiting flow. "
        r"[The flow is not printed; derived as that of Normalized GD, it is "
        r"$X' = -\frac{1}{8} P_{X,\Gamma}^\perp \nabla \lambda_1(X)$.]"
    ),
    expected="holds",
    uses=("phase-one/sqrt-monotone",),
)

rate = Claim(
    "limiting-flow/sharpness-rate",
    source=Source("arora-talk", "Phase 2, item 2"),
    printed=r"For $\Theta(1/\eta^2)$ steps, $\lambda_{max}(\nabla^2 L)$ decreases at a rate $\Theta(\eta^2)$.",
    expected="holds",
    uses=("limiting-flow/ngd", "limiting-flow/sqrt"),
)

mean_angle = Claim(
    "limiting-flow/mean-angle",
    source=Source("cho-slides", "Results for Normalized GD (3), Theorem 4.4 (2)"),
    printed=(
        r"With probability at least $1 - \mathcal{O}(\eta^{10})$, the iterates of perturbed Normalized GD satisfy "
        r"$\frac{1}{\lfloor T_2/\eta^2 \rfloor} \sum_{t=0}^{\lfloor T_2/\eta^2 \rfloor} \theta_t \leq O(\eta)$ "
        r"(alignment in average). [Here rounding is the perturbation.]"
    ),
    expected="holds",
)

perturbation = Claim(
    "limiting-flow/perturbation",
    source=Source("cho-slides", "Results for Normalized GD (3), Phase II"),
    printed=(
        r"To make the theoretical analysis feasible, the alignment between $\tilde{x}_t$ and $v_1(x_t)$ should not "
        r"vanish. To this end, we add a (uniform) noise of magnitude $\mathcal{O}(\eta^{100})$ occasionally."
    ),
    expected="holds",
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


@rate.check(
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
        before, after = (float(top_eigenvalue(loss, point)) for point in (x, y))
        falls.append((before - after) / (PHASE_II / eta**order))
        shares.append(1 - after / before)
    # Any change over 1/eta² steps has the exponent 2: it must be a fall, and one that does not vanish with eta.
    evidence.at_least("fall of λ_1 over 1/eta² steps, of its value", shares, 0.1)
    evidence.rate("fall of λ_1 per step", etas, np.abs(falls), exponent=2, tolerance=0.05)
    axes = ("eta", "fall of λ_1 per step")
    evidence.series("measured", etas, falls, axes=axes, style="points", scale="loglog")
    evidence.series(
        "slope 2", etas, falls[0] * (np.array(etas) / etas[0]) ** 2, axes=axes, style="reference", scale="loglog"
    )


ANGLE_STARTS = {
    curved_valley: np.array(
        [[0.9, 0.7, 1.3, -0.6], [1.1, 0.4, 0.8, 0.9], [0.7, 1.0, -0.4, 0.5], [0.8, -0.6, 0.9, 0.2]]
    ),
    rippled_trough: np.array([[0.3, 0.7, -0.4], [0.1, -0.6, 0.5], [1.4, 0.5, 0.8], [1.2, -0.5, -0.6]]),
}
ANGLE_SAMPLES = 300


@functools.partial(jax.jit, static_argnames=("loss", "step", "exponent"))
def mean_of_angle(loss, step, x, eta, exponent):
    """θ over a sample of Phase II, averaged over steps and starts; an odd interval sees both sides of Γ."""
    settle, every = jnp.asarray(2.0 / eta, int), jnp.asarray(1.0 / eta**2, int) // ANGLE_SAMPLES | 1

    def sampled(x, _):
        x = iterate(step(loss, eta), x, every)
        return x, angle_to_top(loss, x, exponent)

    def one(x):
        return jax.lax.scan(sampled, iterate(step(loss, eta), x, settle), length=ANGLE_SAMPLES)[1]

    return jnp.mean(jax.vmap(one)(x))


@mean_angle.check(
    loss=[curved_valley, rippled_trough],
    etas=(0.02, 0.01, 0.005, 0.0025, 0.00125),
    controls={"gradient descent on √L": dict(step=sqrt_gd_step, exponent=0.5)},
)
def test_the_angle_is_small_on_average(evidence, loss, etas, step=ngd_step, exponent=1.0):
    means = [float(mean_of_angle(loss, step, ANGLE_STARTS[loss], eta, exponent)) for eta in etas]
    evidence.at_most("mean angle / eta", np.array(means) / etas, 0.1)
    axes = ("eta", "mean angle")
    evidence.series("measured", etas, means, axes=axes, style="points", scale="loglog")
    evidence.series("eta", etas, etas, axes=axes, style="reference", scale="loglog")


UNLUCKY = np.array([1.0, 1.2, 0.0, 0.6])  # z_1 = 0: no component along v_1, ever
NOISE = 1e-12  # eta^100, 1e-170 at most here, is lost when it is added to a coordinate of order one
KICKS, T_2 = 15, 1.5  # how often, and the length of Phase II; 0.1/eta² steps are whole


def perturbed(eta, noise, seed):
    """Φ at the end of Phase I and after T_2/eta² further steps with uniform noise now and then."""
    random, step = np.random.default_rng(seed), ngd_step(two_valleys, eta)
    after = x = iterate(step, UNLUCKY, 2.0 / eta)
    for _ in range(KICKS):
        x = iterate(step, x + noise * random.uniform(-1, 1, size=4), round(T_2 / eta**2 / KICKS))
    return tuple(np.asarray(limiting_map(two_valleys, x).point) for x in (after, x))


def right_flow(start):
    """X(T_2) from a point of Γ."""
    return np.asarray(limiting_flow(two_valleys, start, [0.0, T_2], coefficient=1 / 4, functional=jnp.log))[-1]


def wrong_flow(start):
    """The same with λ_2 in place of λ_1: only y_2 moves, and ln y_2 + y_2²/4 falls by T_2/4."""
    level = np.log(start[1]) + start[1] ** 2 / 4 - T_2 / 4
    return np.array([start[0], brentq(lambda y: np.log(y) + y**2 / 4 - level, 1e-6, 2), 0.0, 0.0])


@perturbation.check(etas=(0.02, 0.01, 0.005), replicate=[0, 1, 2], controls={"no noise": dict(noise=0.0)})
def test_with_noise_it_follows_the_flow_of_the_largest_eigenvalue(evidence, etas, replicate, noise=NOISE):
    runs = [perturbed(eta, noise, evidence.seed(replicate)) for eta in etas]
    error = [np.linalg.norm(reached - right_flow(after)) for after, reached in runs]
    evidence.at_most("‖Φ(x) - X(T_2)‖ / eta", np.array(error) / etas, 1.0)
    evidence.series("with noise", etas, error, axes=("eta", "‖Φ(x) - X(T_2)‖"), style="points", scale="loglog")


@perturbation.check(etas=(0.02, 0.01, 0.005), controls={"with noise": dict(noise=NOISE)})
def test_without_noise_it_follows_the_flow_of_the_second_eigenvalue(evidence, etas, noise=0.0):
    runs = [perturbed(eta, noise, evidence.seed()) for eta in etas]
    wrong, right = ([np.linalg.norm(y - flow(x)) for x, y in runs] for flow in (wrong_flow, right_flow))
    evidence.at_most("distance to the flow of λ_2", wrong, 1e-4)
    evidence.at_least("distance to the flow of λ_1", right, 0.2)
