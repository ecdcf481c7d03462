"""The descent lemma, where it is used and how tight it is (Shapira; Arora, Li and Panigrahi 2022)."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Document, Source
from eosbench.dynamics import gd_step, gradient_descent, stableness, top_eigenvalue, trajectory
from eosbench.problems import Quadratic, curved_valley, quartic, valley

review = Document("shapira-review", title="Edge of Stability Training Dynamics (review)")

inequality = Claim(
    "descent/inequality",
    source=Source(review, "Lemma 1 (Descent Lemma)"),
    printed=(
        r"Suppose that $S(\theta) \leq \ell$ for any $\theta$ in an open set that contains the trajectory "
        r"$\{\theta_t\}_{t=0}^T$. Then $\mathcal{L}(\theta_{t+1}) - \mathcal{L}(\theta_t) "
        r"\leq -\frac{\eta}{2}(2 - \eta\ell)\|\nabla \mathcal{L}(\theta_t)\|^2$."
    ),
    corrected=r"... for any $\theta$ on the segments between consecutive iterates.",
    expected="corrected",
)

tight = Claim(
    "descent/tight-on-quadratics",
    source=Source(review, "Section 2, Lemma 1 and Example 2.1"),
    printed=(
        r"This bound is tight, as the following example shows: Consider a quadratic function "
        r"$\mathcal{L}(\theta) = \frac{1}{2}\theta^\top A\theta$ ... If $\eta > \frac{2}{\lambda^1}$, the first "
        r"coordinate diverges exponentially, demonstrating the tightness of the descent lemma's bound."
    ),
    expected="holds",
)


def descent_bound(eta, smoothness, gradient):
    """The right-hand side of the lemma."""
    return -eta / 2 * (2 - eta * smoothness) * (gradient**2).sum(-1)


def washboard(x):
    """A loss with many minima, maxima and inflections in each coordinate."""
    return jnp.sum(jnp.cos(3 * x) + x**2 / 10)


DIMENSION = {curved_valley: 4, valley: 2, washboard: 3, quartic: 3}


@inequality.check(
    loss=[curved_valley, valley, washboard, quartic],
    controls={
        "sharpness at the iterate instead of on the segment": dict(points=1),
        "half the sharpness": dict(share=0.5),
    },
)
def test_the_lemma_with_the_sharpness_of_the_segment(evidence, loss, points=129, share=1.0):
    random = np.random.default_rng(evidence.seed())
    x = random.normal(size=(400, DIMENSION[loss]))
    sharpness = np.asarray(jax.jit(jax.vmap(lambda x: top_eigenvalue(loss, x)))(x))
    x = x[sharpness > 0]
    eta = random.uniform(0.1, 3, size=len(x)) / sharpness[sharpness > 0]
    smoothness = share * np.asarray(jax.jit(jax.vmap(lambda x, eta: stableness(loss, x, eta, points)))(x, eta)) / eta

    before, gradient = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(loss)))(x))
    after = np.asarray(jax.vmap(loss)(x - eta[:, None] * gradient))
    size = eta * (gradient**2).sum(-1)
    excess = (after - before - descent_bound(eta, smoothness, gradient)) / size
    rounding = 8 * np.finfo(float).eps * (np.abs(before) + np.abs(after)) / size
    evidence.at_most("change of the loss beyond the bound, over eta ‖∇L‖²", excess, 0, uncertainty=rounding)

    shown, axes = eta * smoothness < 6, ("eta l", "change of the loss / (eta ‖∇L‖²)")
    evidence.series("steps", (eta * smoothness)[shown], ((after - before) / size)[shown], axes=axes, style="points")
    evidence.series("bound", [0, 6], [-1, 2], axes=axes, style="reference")


def parabola_with_a_ledge(x):
    """``½ x²`` with a smooth step of height 5 up, on the way from 1.8 down to 1.2; an exact parabola elsewhere."""
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


SPECTRUM = np.array([2.0, 2.0, 1.6, 0.7, 0.2])
IN_TOP = np.array([True, True, False, False, False])


def random_quadratic(random):
    """A quadratic with SPECTRUM, whose top eigenvalue is double, along random axes."""
    basis = np.linalg.qr(random.normal(size=(5, 5)))[0]
    return Quadratic.with_spectrum(SPECTRUM, basis), basis


@tight.check(
    product=[0.4, 1.0, 1.9, 2.04],
    controls={"a gradient outside the top eigenspace": dict(others=1.0)},
)
def test_equality_for_a_gradient_in_the_top_eigenspace(evidence, product, others=0.0):
    random = np.random.default_rng(evidence.seed())
    loss, basis = random_quadratic(random)
    eta = product / SPECTRUM[0]
    x = random.normal(size=(200, 5)) * np.where(IN_TOP, 1.0, others) @ basis.T
    before, gradient = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(loss)))(x))
    after = np.asarray(jax.vmap(loss)(x - eta * gradient))
    evidence.equal("change of the loss", after - before, descent_bound(eta, SPECTRUM[0], gradient), scale=before.max())


@tight.check(product=[0.4, 1.0, 1.9, 2.04], controls={"half the sharpness is no bound": dict(share=0.5)})
def test_the_slack_is_what_the_other_eigenspaces_carry(evidence, product, share=1.0):
    random = np.random.default_rng(evidence.seed())
    loss, basis = random_quadratic(random)
    eta, smoothness = product / SPECTRUM[0], share * SPECTRUM[0]
    x = random.normal(size=(200, 5))
    before, gradient = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(loss)))(x))
    after = np.asarray(jax.vmap(loss)(x - eta * gradient))
    slack = descent_bound(eta, smoothness, gradient) - (after - before)
    carried = eta**2 / 2 * ((smoothness - SPECTRUM) * (gradient @ basis) ** 2).sum(-1)
    evidence.equal("slack of the bound", slack, carried, scale=before.max())
    evidence.at_least("slack of the bound over that of the loss", slack / before, 0)


@tight.check(controls={"a start orthogonal to the top eigenspace": dict(top=0.0)})
def test_gradient_descent_diverges_from_two_over_the_top_eigenvalue_on(evidence, top=1.0):
    """The smallest eta λ_1 at which the loss still rises after the other components have decided nothing any more."""
    loss = Quadratic.with_spectrum(SPECTRUM)  # along the axes, so that a component that is zero stays zero
    start = np.where(IN_TOP, top, 1.0)
    product = np.linspace(1.5, 3, 3000)  # 2 is not among them
    half, full = (
        np.asarray(jax.vmap(lambda eta, n=n: loss(gradient_descent(loss, start, eta, n)))(product / SPECTRUM[0]))
        for n in (200, 400)
    )
    rising = full > half
    evidence.requires("once it rises, it rises", np.all(np.diff(rising.astype(int)) >= 0) and rising.any())
    threshold = (product[~rising][-1] + product[rising][0]) / 2
    evidence.constant("2 in eta = 2/λ_1", 2.0, threshold, 2e-3, uncertainty=np.diff(product)[0] / 2)
    near, axes = np.abs(product - 2) < 0.1, ("eta λ_1", "loss after 400 steps / after 200")
    ratio = full[near] / half[near]
    evidence.series("ratio", product[near], ratio, axes=axes, scale="semilogy")
    evidence.series("2/λ_1", [2, 2], [ratio.min(), ratio.max()], axes=axes, style="reference", scale="semilogy")
