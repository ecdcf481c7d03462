"""Stableness in Phase II."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import dense_sharpness, stableness
from eosbench.dynamics import angle_to_top, gd_step, ngd_step, sqrt_gd_step
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

from .setting import ANGLES, HALVED, PHASE_II, SAMPLES, NearGamma, samples, without_first_order


@eqx.filter_jit
def stableness_of_pairs(loss, step, x, eta, normalized=True):
    """S_L at each iterate and one step later, the angle to the top eigenvector, and ‖∇λ_1‖/λ_1.

    The learning rate is eta, or eta/‖∇L(x)‖ if normalized.
    """

    def effective(x):
        size = eta / jnp.linalg.norm(jax.grad(loss)(x)) if normalized else eta
        return stableness(loss, x, size, points=17, zooms=0)

    def pair(x):
        slope = jax.grad(lambda x: jnp.log(dense_sharpness(loss, x)))(x)
        return effective(x), effective(step(x)), angle_to_top(loss, x, 1.0), jnp.linalg.norm(slope)

    return jax.vmap(pair)(x)


stableness_ngd = Claim(
    "phase-two/stableness-ngd",
    source=Source("cho-slides", "Results for Normalized GD (4), Theorem 4.7 (1)"),
    printed=(
        r"Viewing Normalized GD as GD with time-varying LR $\eta_t = \frac{\eta}{\|\nabla L(x_t)\|}$, we have "
        r"$\frac{1}{S_L(x_t, \eta_t)} + \frac{1}{S_L(x_{t+1}, \eta_{t+1})} = 1 + \mathcal{O}(\theta_t + \eta)$."
    ),
    expected="holds",
)


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


def remainders_near_gamma(loss, method, etas, angles, share=1.0):
    """|1/S + 1/S' - 1| where x̃ is share λ_1 long: at each eta, or at each angle; and the point of Γ next to which."""
    near, found = NearGamma(loss), []
    for eta, angle in np.broadcast(etas, angles):
        x = near.at(eta, share, angle, 1.0)
        now, later, *_ = map(np.asarray, stableness_of_pairs(loss, method(loss, eta), x, jnp.asarray(eta)))
        found.append(float(np.abs(1 / now + 1 / later - 1)[0]))
    return np.array(found), near


@stableness_ngd.check(
    loss=[curved_valley, rippled_trough],
    angles=ANGLES,
    controls={"gradient descent on √L": dict(method=sqrt_gd_step)},
)
def test_the_part_of_the_remainder_that_is_of_order_theta(evidence, loss, angles, method=ngd_step, eta=1e-6):
    """Not printed: next to Γ it is at most (1 - λ_2/λ_1) θ, which it is where x̃ is λ_1 long."""
    remainders, near = remainders_near_gamma(loss, method, eta, angles)
    evidence.rate("remainder against θ", angles, remainders, exponent=1, tolerance=0.015)
    largest = (1 - near.second / near.top) * np.array(angles)
    evidence.constant("1 in 1 (1 - λ_2/λ_1) θ", 1.0, without_first_order(remainders / largest), 0.01)


@stableness_ngd.check(
    loss=skewed_valley,
    etas=HALVED,
    controls={"gradient descent on √L": dict(method=sqrt_gd_step)},
)
def test_the_part_of_the_remainder_that_is_of_order_eta(evidence, loss, etas, method=ngd_step):
    """Not printed: with one direction across Γ it is ½ |∇³L(v_1, v_1, v_1)|/λ_1 eta, wherever the two iterates are."""
    remainders, near = remainders_near_gamma(loss, method, etas, 0.0, share=0.3)
    evidence.rate("remainder against eta", etas, remainders, exponent=1, tolerance=0.015)
    ratios = remainders / (near.third / near.top / 2 * np.array(etas))
    evidence.constant("1 in 1 ½ |∇³L(v_1, v_1, v_1)|/λ_1 eta", 1.0, without_first_order(ratios), 0.01)


unstable_every_other_step = Claim(
    "phase-two/unstable-every-other-step",
    source=Source("cho-slides", "Contribution, Phase 2"),
    printed=(
        r"Unstable: stableness at least in one step of every two consecutive steps is > 2. [Results for Normalized GD "
        r"(4), below Theorem 4.7 (1):] Stableness $\geq 2$ at least in one of every two consecutive steps."
    ),
    corrected=(
        r"Stableness $\geq 2$ at least in one of every two consecutive steps, as the slide of Theorem 4.7 has it; on "
        r"the orbit $\{\frac{\eta}{2}, -\frac{\eta}{2}\}$ of $\frac{1}{2} \lambda x^2$ it is 2 in both."
    ),
    expected="corrected",
    severity="slip",
    uses=("phase-two/stableness-ngd",),
)


@unstable_every_other_step.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={"plain gradient descent": dict(method=gd_step)},
)
def test_of_two_consecutive_steps_one_is_not_stable(evidence, loss, etas, method=ngd_step):
    for eta in etas:
        step = method(loss, eta)
        x = samples(loss, step, eta)[::9]
        now, later, *_ = stableness_of_pairs(loss, step, x, jnp.asarray(eta), normalized=method is ngd_step)
        evidence.at_least(f"the larger of S and S', eta = {eta:g}", np.maximum(now, later), 2)


@unstable_every_other_step.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    controls={"steps 2 % shorter": dict(shorter=0.98)},
)
def test_next_to_the_orbit_of_two_points_the_larger_comes_near_the_threshold(evidence, loss, shorter=1.0, eta=1e-4):
    """Where x̃ is between 0.45 and 0.55 λ_1 long; in the middle the two are the same but for the order of eta."""
    x = NearGamma(loss).at(eta, np.linspace(0.45, 0.55, 60), 0.0, 1.0)
    step = ngd_step(loss, eta)
    now, later, *_ = map(np.asarray, stableness_of_pairs(loss, step, x, jnp.asarray(shorter * eta)))
    larger = np.maximum(now, later)
    evidence.at_least("the larger of S and S'", larger, 2)
    evidence.constant("2 in S >= 2", 2.0, larger.min(), 0.01)


@unstable_every_other_step.counterexample(curvature=3.0, eta=0.01)
def test_both_steps_of_an_orbit_of_two_points_are_at_the_threshold(evidence, curvature, eta):
    """On ½ λ x² the step of length eta from eta/2 leads to -eta/2 and back: S = S' = 2, and 2 is not more than 2.

    No other start on the line comes there.
    """
    x = np.array([eta / 2, -eta / 2])
    size = eta / np.abs(curvature * x)
    evidence.requires("the two points are an orbit", np.allclose(x - size * curvature * x, x[::-1]))
    evidence.at_least("the larger of S and S'", np.max(size * curvature), np.nextafter(2, 3), uncertainty=0.0)


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


stableness_sqrt = Claim(
    "phase-two/stableness-sqrt",
    source=Source("cho-slides", "Results for GD on √L, Theorem 4.8 (1)"),
    printed=r"$S_L(x_t, \eta_t) \geq \Omega\left(\frac{1}{\theta_t}\right)$.",
    corrected=r"$S_{\sqrt{L}}(x_t, \eta) \geq \Omega\left(\frac{1}{\theta_t + \eta}\right)$.",
    expected="corrected",
    severity="slip",
)


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


@stableness_sqrt.check(
    loss=[curved_valley, rippled_trough],
    angles=(0.032, 0.008, 0.002),
    controls={"the minimum is not zero": dict(loss=raised_valley)},
)
def test_next_to_gamma_it_is_inverse_to_the_angle(evidence, loss, angles, eta=1e-5, C=0.6):
    """Not printed: where x̃ is C λ_1 long it is 1/(C (1 - λ_2/λ_1) θ), the least where C is 1.

    The step passes Γ when it has gone the share C of its way.
    """
    near = NearGamma(loss)
    s, _ = map(np.asarray, stableness_of_root(loss, near.at(eta, C, np.array(angles), 0.5), jnp.asarray(eta), 0.5))
    evidence.rate("S against θ", angles, s, exponent=-1, tolerance=0.01)
    evidence.constant("1 in S C (1 - λ_2/λ_1) θ", 1.0, s * angles * C * (1 - near.second / near.top), 0.005)


@stableness_sqrt.check(
    loss=[curved_valley, rippled_trough],
    etas=(0.005, 0.0025, 0.00125),
    controls={"the minimum is not zero": dict(loss=raised_valley)},
)
def test_on_the_line_of_the_eigenvector_it_is_inverse_to_eta(evidence, loss, etas):
    """With an angle of zero the step passes Γ at a distance of order eta²."""
    near = NearGamma(loss)
    s = [float(stableness_of_root(loss, near.at(eta, 1, 0.0, 0.5), jnp.asarray(eta), 0.5)[0][0]) for eta in etas]
    evidence.rate("S against eta", etas, s, exponent=-1, tolerance=0.01)


@eqx.filter_jit
def stableness_of_equivalent(loss, x, eta):
    """S_L(x, η_t) at the learning rate with which GD on L takes the same step, and the angle."""
    return jax.vmap(
        lambda x: (
            stableness(loss, x, eta / (2 * jnp.sqrt(loss(x))), points=17, zooms=0),
            angle_to_top(loss, x, 0.5),
        )
    )(x)


@stableness_sqrt.counterexample(loss=curved_valley, eta=0.0025)
def test_the_printed_order_with_the_angle_alone(evidence, loss, eta):
    """S_L stays near 2 while θ gets small: GD on √L is GD on L with η_t = η/(2√L)."""
    x = samples(loss, sqrt_gd_step(loss, eta), eta)[::27]
    s, angle = map(np.asarray, stableness_of_equivalent(loss, x, jnp.asarray(eta)))
    evidence.at_least("S_L(x_t, η_t) θ", s * angle, 0.1)
