"""Phase II of Arora, Li and Panigrahi (2022): iterates drift along the manifold of minimizers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from eosbench import Claim, Document, Source
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
    two_valleys,
    valley,
    valley_limit,
    valley_log_sharpness_flow,
    valley_sharpness_flow,
)

talk = Document("arora-talk", title="Understanding Gradient Descent on Edge of Stability in Deep Learning (talk)")

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
    uses=("phase-one/ngd-reaches-manifold",),
)

sqrt = Claim(
    "limiting-flow/sqrt",
    source=Source(slides, "Results for GD on √L, Phase II"),
    printed="Loss (non-monotonically) decreases as the loss sharpness decreases via limiting flow.",
    expected="holds",
    uses=("phase-one/sqrt-monotone",),
)

rate = Claim(
    "limiting-flow/sharpness-rate",
    source=Source(talk, "Phase 2, item 2"),
    printed=r"For $\Theta(1/\eta^2)$ steps, $\lambda_{max}(\nabla^2 L)$ decreases at a rate $\Theta(\eta^2)$.",
    expected="holds",
    uses=("limiting-flow/ngd", "limiting-flow/sqrt"),
)

mean_angle = Claim(
    "limiting-flow/mean-angle",
    source=Source(slides, "Results for Normalized GD (3), Theorem 4.4 (2)"),
    printed=(
        r"$\frac{1}{\lfloor T_2/\eta^2 \rfloor} \sum_{t=0}^{\lfloor T_2/\eta^2 \rfloor} \theta_t \leq O(\eta)$ "
        "(alignment in average)."
    ),
    expected="holds",
)

perturbation = Claim(
    "limiting-flow/perturbation",
    source=Source(slides, "Results for Normalized GD (3), Phase II"),
    printed=(
        r"To make the theoretical analysis feasible, the alignment between $\tilde{x}_t$ and $v_1(x_t)$ should not "
        r"vanish. To this end, we add a (uniform) noise of magnitude $\mathcal{O}(\eta^{100})$ occasionally."
    ),
    expected="holds",
)

HIDDEN, FEATURES = 6, 4


@functools.cache
def six_digits():
    """Four principal components of six handwritten digits, and ±0.7 for even and odd ones."""
    images, labels = digits(6)
    return np.linalg.svd(images.astype(float))[0][:, :FEATURES] * 6**0.5, 0.7 * (-1.0) ** labels.argmax(1)


def digit_network(x):
    """½ of the summed squared error of a tanh network with 36 parameters: Γ has codimension 6, one for each digit."""
    inputs, targets = six_digits()
    weights, biases, readout = x[:24].reshape(HIDDEN, FEATURES), x[24:30], x[30:]
    return jnp.sum((jnp.tanh(inputs @ weights.T + biases) @ readout - targets) ** 2) / 2


@functools.cache
def start(loss):
    """Where Phase I begins."""
    if loss is valley:
        return np.array([1.5, 0.7])
    if loss is curved_valley:
        return np.array([0.9, 0.7, 1.3, -0.6])
    random = np.random.default_rng(0)
    minimizer = limiting_map(loss, random.normal(scale=0.7, size=36)).point
    return np.asarray(minimizer) + random.normal(scale=0.03, size=36)


# More than T_1, in units of eta per step: the time that either method takes to Γ.
PHASE_I = {valley: 2.0, curved_valley: 2.0, digit_network: 0.5}
PHASE_II = {valley: 1.0, curved_valley: 1.0, digit_network: 0.1}  # T_2; on the network λ_1 soon meets λ_2


def limits(loss, x):
    """Φ of each of the points x: in closed form on the valley, by integration on the curved one."""
    if loss is valley:
        return valley_limit(x)
    return np.asarray(jax.vmap(lambda x: limiting_map(loss, x).point)(x))


def identity(sharpness):
    return sharpness


def flow(loss, x, times, coefficient, functional):
    """X at these times from Φ(x): in closed form on the valley, by integration on the curved one."""
    if loss is valley:
        closed_form = valley_log_sharpness_flow if functional is jnp.log else valley_sharpness_flow
        y = closed_form(valley_limit(x)[0], times, coefficient)
        return np.stack([y, np.zeros_like(y)], axis=-1)
    return np.asarray(limiting_flow(loss, x, times, coefficient=coefficient, functional=functional))


def nearest_time(path, times, point):
    """The time at which the polyline through `path` passes nearest to `point`."""
    ahead, offset = np.diff(path, axis=0), point - path[:-1]
    share = np.clip((offset * ahead).sum(1) / (ahead**2).sum(1), 0, 1)
    nearest = np.argmin(np.linalg.norm(share[:, None] * ahead - offset, axis=1))
    return times[nearest] + share[nearest] * np.diff(times)[nearest]


def record_drift(evidence, loss, etas, step, coefficient, functional, name, tolerance):
    """Compare Φ of the iterate with X after T_2/eta² steps, and find the coefficient with which X gets as far."""
    duration = PHASE_II[loss]
    after = [iterate(step(loss, eta), start(loss), PHASE_I[loss] / eta) for eta in etas]
    last = [iterate(step(loss, eta), x, duration / eta**2) for x, eta in zip(after, etas, strict=True)]
    reached = limits(loss, np.stack(last))

    times = np.linspace(0, 2 * duration, 401)
    predicted = flow(loss, start(loss), times, coefficient, functional)[200]
    error = np.linalg.norm(reached - predicted, axis=1)
    evidence.bounded_by("‖Φ(x) - X(T_2)‖", error, etas, constant=1.0)

    # With another coefficient X passes through the same points at another time, so the time at which it passes the
    # limit reached measures the coefficient. It starts from Φ at the end of Phase I, which that phase moved by O(eta).
    passed = [
        nearest_time(flow(loss, x, times, coefficient, functional), times, y)
        for x, y in zip(after, reached, strict=True)
    ]
    evidence.constant(name, coefficient, coefficient * np.array(passed) / duration, tolerance)

    sharpness = jax.jit(jax.vmap(lambda x: top_eigenvalue(loss, x)))
    eta, every = etas[1], 200
    x = trajectory(step(loss, eta), after[1], int(duration / eta**2), every=every)
    axes = ("time eta² t", "λ_1(Φ(x_t))")
    evidence.series(
        f"eta = {eta:g}", eta**2 * every * np.arange(len(x)), sharpness(limits(loss, x)), axes=axes, style="points"
    )
    evidence.series(
        "limiting flow", times[:201], sharpness(flow(loss, after[1], times, coefficient, functional)[:201]), axes=axes
    )
    axes = ("eta", "‖Φ(x) - X(T_2)‖")
    evidence.series("error", etas, error, axes=axes, style="points", scale="loglog")
    evidence.series("slope 1", etas, error[0] * np.array(etas) / etas[0], axes=axes, style="reference", scale="loglog")


@ngd.check(
    loss=[curved_valley, valley, digit_network],
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
    loss=[curved_valley, valley, digit_network],
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
    loss=[curved_valley, valley],
    step=[sqrt_gd_step, ngd_step],
    etas=(0.02, 0.01, 0.005, 0.0025),
    controls={"Phase I": dict(skip=0.0, order=1), "plain gradient descent": dict(step=gd_step)},
)
def test_sharpness_falls_by_a_multiple_of_eta_squared_per_step(evidence, loss, step, etas, skip=1.0, order=2):
    falls = []
    for eta in etas:
        x = iterate(step(loss, eta), start(loss), skip * PHASE_I[loss] / eta)
        y = iterate(step(loss, eta), x, PHASE_II[loss] / eta**order)
        falls.append(float(top_eigenvalue(loss, x) - top_eigenvalue(loss, y)) / (PHASE_II[loss] / eta**order))
    evidence.at_least("fall of λ_1 per step", falls, 0)
    evidence.rate("fall of λ_1 per step", etas, np.abs(falls), exponent=2, tolerance=0.05)
    axes = ("eta", "fall of λ_1 per step")
    evidence.series("measured", etas, falls, axes=axes, style="points", scale="loglog")
    evidence.series(
        "slope 2", etas, falls[0] * (np.array(etas) / etas[0]) ** 2, axes=axes, style="reference", scale="loglog"
    )


ANGLE_STARTS = np.array([[0.9, 0.7, 1.3, -0.6], [1.1, 0.4, 0.8, 0.9], [0.7, 1.0, -0.4, 0.5], [0.8, -0.6, 0.9, 0.2]])


ANGLE_SAMPLES = 300


@functools.partial(jax.jit, static_argnames=("step", "exponent"))
def mean_of_angle(step, x, eta, exponent):
    """θ over a sample of Phase II, averaged over steps and starts; the sampled steps are not commensurate with 2."""
    settle, length = jnp.asarray(2.0 / eta, int), jnp.asarray(1.0 / eta**2, int)

    def sampled(x, _):
        x = iterate(step(curved_valley, eta), x, length // ANGLE_SAMPLES + 1)
        return x, angle_to_top(curved_valley, x, exponent)

    def one(x):
        return jax.lax.scan(sampled, iterate(step(curved_valley, eta), x, settle), length=ANGLE_SAMPLES)[1]

    return jnp.mean(jax.vmap(one)(x))


@mean_angle.check(
    etas=(0.02, 0.01, 0.005, 0.0025, 0.00125),
    controls={"gradient descent on √L": dict(step=sqrt_gd_step, exponent=0.5)},
)
def test_the_angle_is_small_on_average(evidence, etas, step=ngd_step, exponent=1.0):
    means = [float(mean_of_angle(step, ANGLE_STARTS, eta, exponent)) for eta in etas]
    evidence.at_most("mean angle / eta", np.array(means) / etas, 1.0)
    axes = ("eta", "mean angle")
    evidence.series("measured", etas, means, axes=axes, style="points", scale="loglog")
    evidence.series("eta", etas, etas, axes=axes, style="reference", scale="loglog")


UNLUCKY = np.array([1.0, 1.2, 0.0, 0.6])  # z_1 = 0: no component along v_1, ever
NOISE = 1e-12  # eta^100 is zero in floating point
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
