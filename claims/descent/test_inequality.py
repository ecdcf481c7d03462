"""The descent lemma on losses that are not quadratic."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import dense_sharpness, stableness
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import curved_valley, quartic, valley
from eosbench.proof import Identity, prove_identity

from .setting import descent_bound, hyperbola


def washboard(x):
    """A loss with many minima, maxima and inflections in each coordinate."""
    return jnp.sum(jnp.cos(3 * x) + x**2 / 10)


DIMENSION = {curved_valley: 4, valley: 2, washboard: 3, quartic: 3}

inequality = Claim(
    "descent/inequality",
    source=Source("shapira-review", "Lemma 1 (Descent Lemma)"),
    printed=(
        r"Suppose that $S(\theta) \leq \ell$ for any $\theta$ in an open set that contains the trajectory "
        r"$\{\theta_t\}_{t=0}^T$. Then $\mathcal{L}(\theta_{t+1}) - \mathcal{L}(\theta_t) \leq -\frac{\eta}{2}(2 - "
        r"\eta\ell)\|\nabla \mathcal{L}(\theta_t)\|^2$."
    ),
    corrected=(
        r"Suppose that $S(\theta) \leq \ell$ for any $\theta$ on the segments between consecutive iterates of the "
        r"trajectory $\{\theta_t\}_{t=0}^T$. Then $\mathcal{L}(\theta_{t+1}) - \mathcal{L}(\theta_t) \leq "
        r"-\frac{\eta}{2}(2 - \eta\ell)\|\nabla \mathcal{L}(\theta_t)\|^2$."
    ),
    expected="corrected",
    severity="missing hypothesis",
)


@inequality.check(
    loss=[curved_valley, valley, washboard, quartic],
    controls={
        "sharpness at the iterate instead of on the segment": dict(points=1),
        "2 % less sharpness": dict(share=0.98),
    },
)
def test_the_lemma_with_the_sharpness_of_the_segment(evidence, loss, points=129, share=1.0):
    random = np.random.default_rng(evidence.seed())
    x = random.normal(size=(400, DIMENSION[loss]))
    sharpness = np.asarray(jax.jit(jax.vmap(lambda x: dense_sharpness(loss, x)))(x))
    x = x[sharpness > 0]
    eta = random.uniform(0.1, 3, size=len(x)) / sharpness[sharpness > 0]
    smoothness = (
        share
        * np.asarray(jax.jit(jax.vmap(lambda x, eta: stableness(loss, x, eta, points=points, zooms=0)))(x, eta))
        / eta
    )

    before, gradient = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(loss)))(x))
    after = np.asarray(jax.vmap(loss)(x - eta[:, None] * gradient))
    size = eta * (gradient**2).sum(-1)
    excess = (after - before - descent_bound(eta, smoothness, gradient)) / size
    rounding = 8 * np.finfo(float).eps * (np.abs(before) + np.abs(after)) / size
    evidence.at_most("change of the loss beyond the bound, over eta ‖∇L‖²", excess, 0, uncertainty=rounding)

    shown, axes = eta * smoothness < 6, ("eta l", "change of the loss / (eta ‖∇L‖²)")
    evidence.series("steps", (eta * smoothness)[shown], ((after - before) / size)[shown], axes=axes, style="points")
    evidence.series("bound", [0, 6], [-1, 2], axes=axes, style="reference")


def taylor(half, drop="1/2"):
    """The lemma from Taylor's theorem, and that the loss drops by eta c/2 gᵀg where eta l = 2 - c.

    By the theorem L(θ') = L(θ) - eta gᵀg + eta²/2 gᵀHg for the Hessian H at a point of the segment; S <= l there, so
    that p = l gᵀg - gᵀHg is not negative.
    """
    statements = (
        ("the bound", f"-{half}*eta*(2 - eta*l)*g.T@g", ">=", "after - before"),
        ("the loss drops", "-after + before", ">=", f"{drop}*eta*c*g.T@g"),
    )
    return Identity(
        statements,
        "eta l p c before after",
        {"g": ("p", "1"), "H": ("p", "p", "symmetric")},
        given=(
            ("after", "before - eta*g.T@g + 1/2*eta**2*g.T@H@g"),
            ("p", "l*g.T@g - g.T@H@g"),
            ("eta*l", "2 - c"),
        ),
        positive="eta c",
        nonnegative="p",
        remainder={
            "the bound": "-given1 - 1/2*eta**2*given2",
            "the loss drops": "-given1 - 1/2*eta**2*given2 - 1/2*eta*(g.T@g)*given3",
        },
        excess={"the bound": "1/2*eta**2*p", "the loss drops": "1/2*eta**2*p"},
    )


@inequality.check(proves=True, controls={"2 % more": dict(half="51/100")})
def test_the_lemma_by_taylors_theorem(evidence, half="1/2"):
    """Taylor's theorem with Lagrange's remainder is taken as known; the rest is an inequality of polynomials."""
    identity = taylor(half)
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


def parabola_with_a_ledge(x):
    """`½ x²` with a smooth step of height 5 up, on the way from 1.8 down to 1.2; an exact parabola elsewhere."""
    t = (1.8 - x[0]) / 0.6
    inside = (t > 0) & (t < 1)
    s = jnp.where(inside, t, 0.5)
    ledge = jnp.where(inside, jax.nn.sigmoid(1 / (1 - s) - 1 / s), t >= 1)
    return x[0] ** 2 / 2 + 5 * ledge


@inequality.counterexample(eta=0.5, x0=2.0)
def test_an_open_set_about_the_iterates_is_not_enough(evidence, eta, x0):
    path = trajectory(gd_step(parabola_with_a_ledge, eta), np.array([x0]), 20)
    about = np.asarray(path)[:, None] + np.linspace(-0.1, 0.1, 41)[:, None]
    sharpness = jax.jit(jax.vmap(jax.vmap(jax.hessian(parabola_with_a_ledge))))(about)
    evidence.requires("S <= 1 within 0.1 of every iterate", np.max(sharpness) <= 1)

    values, gradients = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(parabola_with_a_ledge)))(path))
    evidence.at_most("change of the loss", np.diff(values), descent_bound(eta, 1.0, gradients[:-1]))


def rotated_bowl(x):
    """A quadratic with top eigenvalue 3 along (1, 1, 1)."""
    return jnp.sum(x) ** 2 / 3 + jnp.sum(x**2) / 2


LARGEST_SHARPNESS = {washboard: 9.2, hyperbola: 1.0, rotated_bowl: 3.0}

strict_decrease = Claim(
    "descent/strict-decrease",
    source=Source("arora-talk", "Descent Lemma for Gradient Descent"),
    printed=(
        r"If $\eta < \frac{2}{\lambda_{\max}(\nabla^2 L)}$ then loss drops each iteration. Usual interpretation: "
        r"$\lambda_{\max}(\nabla^2 L)$ is globally bounded."
    ),
    expected="holds",
    uses=("descent/inequality",),
)


@strict_decrease.check(
    loss=[washboard, hyperbola, rotated_bowl],
    controls={
        "λ_max at the iterate only": dict(everywhere=False),
        "eta up to 2 % above 2/λ_max": dict(loss=rotated_bowl, share=(1.0, 1.02)),
    },
)
def test_the_loss_drops_below_two_over_the_largest_sharpness(evidence, loss, share=(0.01, 1.0), everywhere=True):
    random = np.random.default_rng(evidence.seed())
    x = random.normal(scale=2, size=(4000, 3))
    sharpness = np.asarray(jax.jit(jax.vmap(lambda x: dense_sharpness(loss, x)))(x))
    bound = np.full(len(x), LARGEST_SHARPNESS[loss]) if everywhere else sharpness
    x, bound, sharpness = x[bound > 0.1], bound[bound > 0.1], sharpness[bound > 0.1]
    eta = random.uniform(*share, size=len(x)) * 2 / bound
    before, gradient = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(loss)))(x))
    after = np.asarray(jax.jit(jax.vmap(loss))(x - eta[:, None] * gradient))
    size = eta * (gradient**2).sum(-1)
    evidence.requires("∇L != 0", np.all(size > 0))
    evidence.requires("λ_max(∇²L) is bounded by what eta assumes", np.all(sharpness <= bound + 1e-12))
    rounding = 8 * np.finfo(float).eps * (np.abs(before) + np.abs(after)) / size
    evidence.at_most("change of the loss over eta ‖∇L‖²", (after - before) / size, 0, uncertainty=rounding)

    axes = ("eta λ_max", "change of the loss / (eta ‖∇L‖²)")
    evidence.series("steps", eta * bound, (after - before) / size, axes=axes, style="points")


@strict_decrease.check(proves=True, controls={"2 % more": dict(drop="51/100")})
def test_the_loss_drops_by_taylors_theorem(evidence, drop="1/2"):
    """By eta c/2 ‖∇L‖² or more, where eta λ_max = 2 - c: Taylor's theorem is taken as known, as for the lemma."""
    identity = taylor("1/2", drop)
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)
