"""Phase II of Arora, Li and Panigrahi (2022): the edge of stability, and what the loss does there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Document, Source
from eosbench.dynamics import angle_to_top, iterate, ngd_step, sqrt_gd_step, top_eigenvalue, trajectory
from eosbench.problems import curved_valley, skewed_valley, valley

slides = Document(
    "cho-slides", title="Understanding Gradient Descent on Edge of Stability in Deep Learning (presentation)"
)

loss_sqrt = Claim(
    "phase-two/loss-sqrt",
    source=Source(slides, "Results for GD on √L, Theorem 4.8 (2)"),
    printed=(
        r"Running GD on $\sqrt{L}$, we eventually have "
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \eta \lambda_1(\nabla^2 L(x_t)) + \mathcal{O}(\eta \theta_t)$."
    ),
    corrected=(
        r"$\sqrt{L(x_t)} + \sqrt{L(x_{t+1})} = \frac{1}{2} \eta \lambda_1(\nabla^2 L(x_t)) "
        r"+ \mathcal{O}(\eta (\theta_t + \eta))$."
    ),
    expected="corrected",
)

PHASE_I = 2.0  # more than T_1 from any of the starts
PHASE_II = 1.0
SAMPLES = 300


def raised_valley(x):
    """A loss whose minimum is not zero."""
    return valley(x) + 0.1


STARTS = {
    curved_valley: np.array([[0.9, 0.7, 1.3, -0.6], [1.1, 0.4, 0.8, 0.9], [0.7, 1.0, -0.4, 0.5]]),
    valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    skewed_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
    raised_valley: np.array([[1.5, 0.7], [1.2, -0.6], [0.8, 0.5]]),
}


@eqx.filter_jit
def pairs(loss, step, x, exponent):
    """Of each iterate x: √L there plus √L one step later, the sharpness, and the angle to the top eigenvector."""

    def pair(x):
        return jnp.sqrt(loss(x)) + jnp.sqrt(loss(step(x))), top_eigenvalue(loss, x), angle_to_top(loss, x, exponent)

    return jax.vmap(pair)(x)


def phase_two(loss, step, eta, exponent):
    """`pairs` at regular intervals of Phase II, from all starts: three arrays of shape (starts * samples,)."""
    settle, every = round(PHASE_I / eta), round(PHASE_II / eta**2 / SAMPLES)
    x = jax.vmap(lambda x: trajectory(step, iterate(step, x, settle), SAMPLES * every, every=every))(STARTS[loss])
    return map(np.asarray, pairs(loss, step, x.reshape(-1, x.shape[-1]), exponent))


@loss_sqrt.check(
    loss=[curved_valley, valley, skewed_valley],
    etas=(0.005, 0.0035, 0.0025, 0.00177, 0.00125),
    controls={
        "normalized gradient descent instead": dict(method=ngd_step),
        "the minimum is not zero": dict(loss=raised_valley),
    },
)
def test_consecutive_roots_add_up_to_half_eta_lambda(evidence, loss, etas, half=1 / 2, method=sqrt_gd_step):
    factors, remainders = [], []
    for eta in etas:
        roots, sharpness, angle = phase_two(loss, method(loss, eta), eta, exponent=0.5)
        factors.append(np.median(roots / (eta * sharpness)))
        remainders.append(np.max(np.abs(roots - half * eta * sharpness) / (angle + eta)))
    evidence.constant("1/2 in 1/2 eta λ_1", half, factors, 0.005)
    evidence.bounded_by("remainder / (θ + eta)", remainders, etas, constant=20)

    time, axes = np.linspace(0, PHASE_II, SAMPLES + 1), ("time eta² t", "(√L(x_t) + √L(x_t+1)) / eta")
    first = slice(SAMPLES + 1)
    evidence.series(f"GD on √L, eta = {eta:g}", time, roots[first] / eta, axes=axes, style="points")
    evidence.series("λ_1 / 2", time, half * sharpness[first], axes=axes)
    evidence.series("λ_1, as printed", time, sharpness[first], axes=axes, style="reference")
    axes = ("eta", "remainder / (eta (θ + eta))")
    evidence.series("largest", etas, np.array(remainders) / etas, axes=axes, style="points", scale="semilogx")


@loss_sqrt.counterexample(loss=curved_valley, eta=0.0025)
def test_the_printed_constant(evidence, loss, eta):
    roots, sharpness, _ = phase_two(loss, sqrt_gd_step(loss, eta), eta, exponent=0.5)
    evidence.constant("1 in eta λ_1, as printed", 1.0, np.median(roots / (eta * sharpness)), 0.005)


@loss_sqrt.counterexample(loss=skewed_valley, eta=0.0025)
def test_the_printed_remainder(evidence, loss, eta):
    """With one direction across Γ, θ is zero; its third derivative leaves a remainder of order eta² all the same."""
    roots, sharpness, angle = phase_two(loss, sqrt_gd_step(loss, eta), eta, exponent=0.5)
    remainder = np.abs(roots - eta * sharpness / 2)  # already with the right constant
    evidence.at_most("remainder against 20 eta θ", remainder, 20 * eta * angle)
