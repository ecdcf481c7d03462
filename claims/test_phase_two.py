"""Phase II of Arora, Li and Panigrahi (2022): the edge of stability, and what the loss does there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import stableness
from eosbench.dynamics import (
    angle_to_top,
    gd_step,
    iterate,
    ngd_step,
    sqrt_gd_step,
    top_eigenvalue,
    trajectory,
)
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

loss_sqrt = Claim(
    "phase-two/loss-sqrt",
    source=Source("cho-slides", "Results for GD on √L, Theorem 4.8 (2); as in the talk, Phase 2, item 1"),
    printed=(
        r"Running GD on $\sqrt{L}$, we eventually have "
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \eta \lambda_1(\nabla^2 L(x_t)) + \mathcal{O}(\eta \theta_t)$. "
        r"[The talk has $\mathcal{O}(\eta^2)$ in place of $\mathcal{O}(\eta \theta_t)$.]"
    ),
    corrected=(
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \frac{1}{2} \eta \lambda_1(\nabla^2 L(x_t)) "
        r"+ \mathcal{O}(\eta (\theta_t + \eta))$."
    ),
    expected="corrected",
    uses=("quadratic/aligns-to-v1",),
)

stableness_ngd = Claim(
    "phase-two/stableness-ngd",
    source=Source("cho-slides", "Results for Normalized GD (4), Theorem 4.7 (1)"),
    printed=(
        r"Viewing Normalized GD as GD with time-varying LR $\eta_t = \frac{\eta}{\|\nabla L(x_t)\|}$, we have "
        r"$\frac{1}{S_L(x_t, \eta_t)} + \frac{1}{S_L(x_{t+1}, \eta_{t+1})} = 1 + \mathcal{O}(\theta_t + \eta)$."
    ),
    expected="holds",
)

loss_ngd = Claim(
    "phase-two/loss-ngd",
    source=Source("cho-slides", "Results for Normalized GD (4), Theorem 4.7 (2)"),
    printed=(
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \eta \sqrt{\frac{\lambda_1(\nabla^2 L(x_t))}{2}} "
        r"+ \mathcal{O}(\eta \theta_t)$."
    ),
    corrected=(
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \eta \sqrt{\frac{\lambda_1(\nabla^2 L(x_t))}{2}} + \mathcal{O}(\eta "
        r"(\theta_t + \eta))$."
    ),
    expected="corrected",
    uses=("quadratic/aligns-to-v1",),
)

oscillates = Claim(
    "phase-two/oscillates",
    source=Source("arora-talk", "Phase 2"),
    printed=r"$\sqrt{L}$ oscillates in consecutive steps, implying EoS. $\sqrt{L}$ decreases over time overall.",
    expected="holds",
)

unstable = Claim(
    "phase-two/unstable-every-other-step",
    source=Source("cho-slides", "Contribution, Phase 2"),
    printed="Unstable: stableness at least in one step of every two consecutive steps is > 2.",
    corrected=(
        r"Unstable: stableness at least in one step of every two consecutive steps is at least 2, up to "
        r"$\mathcal{O}(\eta)$ where $L$ is not quadratic; on the orbit $\{\frac{\eta}{2}, -\frac{\eta}{2}\}$ of "
        r"$\frac{1}{2} \lambda x^2$ it is 2 in both."
    ),
    expected="corrected",
    uses=("phase-two/stableness-ngd",),
)

stableness_sqrt = Claim(
    "phase-two/stableness-sqrt",
    source=Source("cho-slides", "Results for GD on √L, Theorem 4.8 (1)"),
    printed=r"$S_L(x_t, \eta_t) \geq \Omega\left(\frac{1}{\theta_t}\right)$.",
    corrected=r"$S_{\sqrt{L}}(x_t, \eta) \geq \Omega\left(\frac{1}{\theta_t + \eta}\right)$.",
    expected="corrected",
)

PHASE_I = 2.0  # more than T_1 from any of the starts
PHASE_II = 1.0
SAMPLES = 900


STARTS = {
    curved_valley: np.array([[0.9, 0.7, 1.3, -0.6], [1.1, 0.4, 0.8, 0.9], [0.7, 1.0, -0.4, 0.5]]),
    valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    skewed_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    raised_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    rippled_trough: np.array([[0.3, 0.7, -0.4], [0.1, -0.6, 0.5], [1.4, 0.5, 0.8]]),  # the last drifts the other way
}


@eqx.filter_jit
def pairs(loss, step, x, exponent):
    """Of each iterate x: √L there plus √L one step later, λ_1, ‖∇λ_1‖, and the angle to the top eigenvector."""

    def pair(x):
        sharpness, slope = jax.value_and_grad(lambda x: top_eigenvalue(loss, x))(x)
        roots = jnp.sqrt(loss(x)) + jnp.sqrt(loss(step(x)))
        return roots, sharpness, jnp.linalg.norm(slope), angle_to_top(loss, x, exponent)

    return jax.vmap(pair)(x)


def samples(loss, step, eta):
    """Iterates at regular intervals of Phase II, from all starts: shape (starts * samples, p).

    The interval is odd: the iterates alternate between two sides of Γ, and an even one would see one side only.
    """
    settle, every = round(PHASE_I / eta), round(PHASE_II / eta**2 / SAMPLES) | 1
    x = jax.vmap(lambda x: trajectory(step, iterate(step, x, settle), SAMPLES * every, every=every))(STARTS[loss])
    return x.reshape(-1, x.shape[-1])


def phase_two(loss, step, eta, exponent):
    """`pairs` of the `samples`: four arrays of shape (starts * samples,)."""
    return map(np.asarray, pairs(loss, step, samples(loss, step, eta), exponent))


@eqx.filter_jit
def stableness_of_pairs(loss, step, x, eta, normalized=True):
    """S_L at each iterate and one step later, the angle to the top eigenvector, and ‖∇λ_1‖/λ_1.

    The learning rate is eta, or eta/‖∇L(x)‖ if normalized.
    """

    def effective(x):
        size = eta / jnp.linalg.norm(jax.grad(loss)(x)) if normalized else eta
        return stableness(loss, x, size, points=17, zooms=0)

    def pair(x):
        slope = jax.grad(lambda x: jnp.log(top_eigenvalue(loss, x)))(x)
        return effective(x), effective(step(x)), angle_to_top(loss, x, 1.0), jnp.linalg.norm(slope)

    return jax.vmap(pair)(x)


def curved_root(x):
    return jnp.sqrt(curved_valley(x))


def raised_root(x):
    return jnp.sqrt(raised_valley(x))


def rippled_root(x):
    return jnp.sqrt(rippled_trough(x))


ROOTS = {curved_valley: curved_root, raised_valley: raised_root, rippled_trough: rippled_root}


@eqx.filter_jit
def stableness_of_root(loss, x, eta, exponent):
    """S_√L(x, eta), with a zoom to the peak where the segment passes Γ, and the angle to the top eigenvector."""
    return jax.vmap(lambda x: (stableness(ROOTS[loss], x, eta), angle_to_top(loss, x, exponent)))(x)


@eqx.filter_jit
def stableness_of_equivalent(loss, x, eta):
    """S_L(x, η_t) at the learning rate with which GD on L takes the same step, and the angle."""
    return jax.vmap(
        lambda x: (
            stableness(loss, x, eta / (2 * jnp.sqrt(loss(x))), points=17, zooms=0),
            angle_to_top(loss, x, 0.5),
        )
    )(x)


@loss_sqrt.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={
        "normalized gradient descent instead": dict(method=ngd_step),
        "the minimum is not zero": dict(loss=raised_valley),
    },
)
def test_consecutive_roots_add_up_to_half_eta_lambda(evidence, loss, etas, half=1 / 2, method=sqrt_gd_step):
    """O(η(θ + η)) is taken with the constants that the units ask for: λ_1 with θ, √λ_1 ‖∇λ_1‖ with η.

    The largest of many iterates is a rare one, so no slope is fitted to it: the bound holds at each step size.
    """
    factors, remainders = [], []
    for eta in etas:
        roots, sharpness, slope, angle = phase_two(loss, method(loss, eta), eta, exponent=0.5)
        factors.append(np.median(roots / (eta * sharpness)))
        size = eta * (sharpness * angle + np.sqrt(sharpness) * slope * eta)
        remainders.append(np.max(np.abs(roots - half * eta * sharpness) / size))
    evidence.constant("1/2 in 1/2 eta λ_1", half, factors, 0.005)
    evidence.at_most("remainder / (eta (λ_1 θ + √λ_1 ‖∇λ_1‖ eta))", remainders, 1)

    time, axes = np.linspace(0, PHASE_II, SAMPLES + 1), ("time eta² t", "(√L(x_t) + √L(x_t+1)) / eta")
    first = slice(SAMPLES + 1)
    evidence.series(f"GD on √L, eta = {eta:g}", time, roots[first] / eta, axes=axes, style="points")
    evidence.series("λ_1 / 2", time, half * sharpness[first], axes=axes)
    evidence.series("λ_1, as printed", time, sharpness[first], axes=axes, style="reference")
    axes = ("eta", "remainder / (eta (λ_1 θ + √λ_1 ‖∇λ_1‖ eta))")
    evidence.series("largest", etas, remainders, axes=axes, style="points", scale="semilogx")


@loss_sqrt.counterexample(loss=curved_valley, eta=0.0025)
def test_the_printed_constant(evidence, loss, eta):
    roots, sharpness, *_ = phase_two(loss, sqrt_gd_step(loss, eta), eta, exponent=0.5)
    evidence.constant("1 in eta λ_1, as printed", 1.0, np.median(roots / (eta * sharpness)), 0.005)


@loss_sqrt.counterexample(loss=skewed_valley, eta=0.0025)
def test_the_printed_remainder(evidence, loss, eta):
    """With one direction across Γ, θ is zero; its third derivative leaves a remainder of order eta² all the same."""
    roots, sharpness, _, angle = phase_two(loss, sqrt_gd_step(loss, eta), eta, exponent=0.5)
    remainder = np.abs(roots - eta * sharpness / 2)  # already with the right constant
    evidence.at_most("remainder against 20 eta λ_1 θ", remainder, 20 * eta * sharpness * angle)


@eqx.filter_jit
def largest_remainder(loss, eta, x):
    """The largest |√L + √L' - ½ eta λ_1| over every step of Phase II from x."""
    step = sqrt_gd_step(loss, eta)

    def larger(_, carry):
        x, most = carry
        after = step(x)
        remainder = jnp.abs(jnp.sqrt(loss(x)) + jnp.sqrt(loss(after)) - eta * top_eigenvalue(loss, x) / 2)
        return after, jnp.maximum(most, remainder)

    settled = iterate(step, x, jnp.asarray(PHASE_I / eta, int))
    return jax.lax.fori_loop(0, jnp.asarray(PHASE_II / eta**2, int), larger, (settled, jnp.zeros(())))[1]


@loss_sqrt.counterexample(loss=curved_valley, etas=(0.02, 0.01, 0.005, 0.0025))
def test_the_remainder_printed_in_the_talk(evidence, loss, etas):
    """θ is large now and then, at any eta, and the remainder then of order eta θ. Already with the right constant."""
    largest = [float(largest_remainder(loss, jnp.asarray(eta), jnp.asarray(STARTS[loss][1]))) for eta in etas]
    evidence.bounded_by("largest remainder in O(eta²)", largest, np.square(etas), constant=100)


@loss_ngd.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={
        "gradient descent on √L instead": dict(method=sqrt_gd_step),
        "two per cent more": dict(factor=1.02 * 0.5**0.5),
    },
)
def test_consecutive_roots_of_normalized_gd(evidence, loss, etas, factor=0.5**0.5, method=ngd_step):
    """O(η(θ + η)) is taken with the constants that the units ask for: √λ_1 with θ, ‖∇λ_1‖/√λ_1 with η."""
    factors, remainders = [], []
    for eta in etas:
        roots, sharpness, slope, angle = phase_two(loss, method(loss, eta), eta, exponent=1.0)
        factors.append(np.median(roots / (eta * np.sqrt(sharpness))))
        size = eta * (np.sqrt(sharpness) * angle + slope / np.sqrt(sharpness) * eta)
        remainders.append(np.max(np.abs(roots - factor * eta * np.sqrt(sharpness)) / size))
    evidence.constant("1/√2 in eta √(λ_1/2)", factor, factors, 0.005)
    evidence.at_most("remainder / (eta (√λ_1 θ + ‖∇λ_1‖/√λ_1 eta))", remainders, 1)

    time, axes = np.linspace(0, PHASE_II, SAMPLES + 1), ("time eta² t", "(√L(x_t) + √L(x_t+1)) / eta")
    first = slice(SAMPLES + 1)
    evidence.series(f"normalized GD, eta = {eta:g}", time, roots[first] / eta, axes=axes, style="points")
    evidence.series("√(λ_1 / 2)", time, factor * np.sqrt(sharpness[first]), axes=axes)


@loss_ngd.counterexample(loss=skewed_valley, eta=0.0025)
def test_the_printed_remainder_of_normalized_gd(evidence, loss, eta):
    roots, sharpness, _, angle = phase_two(loss, ngd_step(loss, eta), eta, exponent=1.0)
    remainder = np.abs(roots - eta * np.sqrt(sharpness / 2))
    evidence.at_most("remainder against 20 eta √λ_1 θ", remainder, 20 * eta * np.sqrt(sharpness) * angle)


@stableness_ngd.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={
        "gradient descent on √L": dict(method=sqrt_gd_step),
    },
)
def test_the_inverses_of_consecutive_stableness_add_up_to_one(evidence, loss, etas, method=ngd_step):
    sums, remainders, largest = [], [], []
    for eta in etas:
        step = method(loss, eta)
        now, later, angle, slope = map(
            np.asarray, stableness_of_pairs(loss, step, samples(loss, step, eta)[::9], jnp.asarray(eta))
        )
        sums.append(np.median(1 / now + 1 / later))
        remainders.append(np.max(np.abs(1 / now + 1 / later - 1) / (angle + slope * eta)))
        largest.append(np.min(np.maximum(now, later)))
    evidence.constant("1 = 1/S + 1/S'", 1.0, sums, 0.005)
    evidence.at_most("remainder / (θ + ‖∇log λ_1‖ eta)", remainders, 1)
    evidence.at_least("the larger of S and S'", largest, 2 - 3 * np.array(etas))

    time, axes = np.linspace(0, PHASE_II, SAMPLES // 9 + 1), ("time eta² t", "stableness")
    for name, values in (("S(x_t)", now), ("S(x_t+1)", later)):
        evidence.series(name, time, values[: SAMPLES // 9 + 1], axes=axes, style="points")
    evidence.series("2", [0, PHASE_II], [2, 2], axes=axes, style="reference")


@oscillates.check(
    loss=[curved_valley, valley, rippled_trough],
    method=[sqrt_gd_step, ngd_step],
    controls={"plain gradient descent": dict(method=gd_step), "the minimum is not zero": dict(loss=raised_valley)},
)
def test_the_root_goes_up_and_down_and_its_average_falls(evidence, loss, method, eta=0.005):
    step, steps = method(loss, eta), round(PHASE_II / eta**2)
    x = iterate(step, STARTS[loss][0], PHASE_I / eta)
    roots = np.sqrt(np.asarray(trajectory(step, x, steps - 1, loss)))
    change = np.diff(roots)
    evidence.at_least("share of steps after which the change turns round", np.mean(change[1:] * change[:-1] < 0), 0.95)
    evidence.monotone("means of ten blocks", roots.reshape(10, -1).mean(1))

    evidence.series("√L", eta**2 * np.arange(steps), roots, axes=("time eta² t", "√L"))
    means = roots.reshape(100, -1).mean(1)
    evidence.series("mean", PHASE_II * (np.arange(100) + 0.5) / 100, means, axes=("time eta² t", "√L"))


@unstable.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={"plain gradient descent": dict(method=gd_step)},
)
def test_of_two_consecutive_steps_one_is_not_stable(evidence, loss, etas, method=ngd_step):
    for eta in etas:
        step = method(loss, eta)
        x = samples(loss, step, eta)[::9]
        now, later, *_ = stableness_of_pairs(loss, step, x, jnp.asarray(eta), normalized=method is ngd_step)
        evidence.at_least(f"the larger of S and S', eta = {eta:g}", np.maximum(now, later), 2 - 3 * eta)


@unstable.counterexample(curvature=3.0, eta=0.01)
def test_both_steps_of_an_orbit_of_two_points_are_at_the_threshold(evidence, curvature, eta):
    """On ½ λ x² the step of length eta from eta/2 leads to -eta/2 and back: S = S' = 2, and 2 is not more than 2.

    No other start on the line comes there.
    """
    x = np.array([eta / 2, -eta / 2])
    size = eta / np.abs(curvature * x)
    evidence.requires("the two points are an orbit", np.allclose(x - size * curvature * x, x[::-1]))
    evidence.at_least("the larger of S and S'", np.max(size * curvature), np.nextafter(2, 3), uncertainty=0.0)


@stableness_sqrt.check(
    loss=[curved_valley, rippled_trough],
    etas=(0.02, 0.01, 0.005, 0.0025),
    controls={"the minimum is not zero": dict(loss=raised_valley)},
)
def test_stableness_is_at_least_of_the_order_of_the_inverse_angle(evidence, loss, etas):
    for eta in etas:
        x = samples(loss, sqrt_gd_step(loss, eta), eta)[::27]
        s, angle = map(np.asarray, stableness_of_root(loss, x, jnp.asarray(eta), 0.5))
        evidence.at_least(f"S (θ + eta), eta = {eta:g}", s * (angle + eta), 0.1)
        evidence.at_least(f"S, eta = {eta:g}", s, 2)
    axes = ("angle θ", f"stableness of √L, eta = {eta:g}")
    evidence.series("S", np.maximum(angle, 1e-7), s, axes=axes, style="points", scale="loglog")
    grid = np.geomspace(1e-7, 1.6, 50)
    evidence.series("0.1 / (θ + eta)", grid, 0.1 / (grid + eta), axes=axes, style="reference", scale="loglog")


@stableness_sqrt.counterexample(loss=curved_valley, eta=0.0025)
def test_the_printed_order_with_the_angle_alone(evidence, loss, eta):
    """S_L stays near 2 while θ gets small: GD on √L is GD on L with η_t = η/(2√L)."""
    x = samples(loss, sqrt_gd_step(loss, eta), eta)[::27]
    s, angle = map(np.asarray, stableness_of_equivalent(loss, x, jnp.asarray(eta)))
    evidence.at_least("S_L(x_t, η_t) θ", s * angle, 0.1)
