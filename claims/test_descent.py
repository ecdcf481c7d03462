"""The descent lemma, where it is used and how tight it is (Shapira; Arora, Li and Panigrahi 2022)."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import stableness
from eosbench.dynamics import gd_step, gradient_descent, top_eigenvalue, trajectory
from eosbench.problems import Quadratic, curved_valley, quartic, valley

inequality = Claim(
    "descent/inequality",
    source=Source("shapira-review", "Lemma 1 (Descent Lemma)"),
    printed=(
        r"Suppose that $S(\theta) \leq \ell$ for any $\theta$ in an open set that contains the trajectory "
        r"$\{\theta_t\}_{t=0}^T$. Then $\mathcal{L}(\theta_{t+1}) - \mathcal{L}(\theta_t) "
        r"\leq -\frac{\eta}{2}(2 - \eta\ell)\|\nabla \mathcal{L}(\theta_t)\|^2$."
    ),
    corrected=(
        r"Suppose that $S(\theta) \leq \ell$ for any $\theta$ on the segments between consecutive iterates of the "
        r"trajectory $\{\theta_t\}_{t=0}^T$. Then $\mathcal{L}(\theta_{t+1}) - \mathcal{L}(\theta_t) \leq "
        r"-\frac{\eta}{2}(2 - \eta\ell)\|\nabla \mathcal{L}(\theta_t)\|^2$."
    ),
    expected="corrected",
)

tight = Claim(
    "descent/tight-on-quadratics",
    source=Source("shapira-review", "Section 2, Lemma 1 and Example 2.1"),
    printed=(
        r"This bound is tight, as the following example shows: Consider a quadratic function "
        r"$\mathcal{L}(\theta) = \frac{1}{2}\theta^\top A\theta$ ... If $\eta > \frac{2}{\lambda^1}$, the first "
        r"coordinate diverges exponentially, demonstrating the tightness of the descent lemma's bound."
    ),
    expected="holds",
)


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


regimes = Claim(
    "descent/quadratic-regimes",
    source=Source("shapira-review", "Example 2.1"),
    printed=(
        r"$\theta_{t+1} = (I - \eta A)^t \theta_0$, so $\theta_{t+1}^k = (1 - \eta\lambda^k)^t \theta_0^k$. If "
        r"$\eta > \frac{2}{\lambda^1}$, the first coordinate diverges exponentially. For any $i$, if "
        r"$\eta < \frac{2}{\lambda^i}$, $\theta^i$ converges exponentially; for $\eta < \frac{1}{\lambda^i}$ "
        r"monotonically, for $\frac{1}{\lambda^i} < \eta < \frac{2}{\lambda^i}$ it oscillates as it converges."
    ),
    corrected=(
        r"$\theta_{t+1} = (I - \eta A)^{t+1} \theta_0$, so $\theta_{t+1}^k = (1 - \eta\lambda^k)^{t+1} \theta_0^k$. "
        r"If $\eta > \frac{2}{\lambda^1} > 0$ and $\theta_0^1 \neq 0$, the first coordinate diverges exponentially. "
        r"For any $i$ with $\lambda^i > 0$ and $\theta_0^i \neq 0$, if $\eta < \frac{2}{\lambda^i}$, $\theta^i$ "
        r"converges exponentially; for $\eta < \frac{1}{\lambda^i}$ monotonically, for $\frac{1}{\lambda^i} < \eta < "
        r"\frac{2}{\lambda^i}$ it oscillates as it converges."
    ),
    expected="corrected",
)

faster = Claim(
    "descent/high-curvature-is-faster",
    source=Source("shapira-review", "Example 2.1"),
    printed=(
        r"Directions of high curvature, corresponding to high eigenvalues, converges faster than directions of low "
        r"curvature."
    ),
    corrected=r"Among directions with $\eta\lambda \leq 1$, those of high curvature converge faster.",
    expected="corrected",
)

diverges = Claim(
    "descent/diverges-above-threshold",
    source=Source("shapira-review", "Section 1"),
    printed=(
        r"The path taken by gradient descent is provably diverging if the sharpness exceeds this threshold "
        r"[$2/\eta$] at any step."
    ),
    corrected=(
        r"On a quadratic, the path taken by gradient descent diverges if the sharpness exceeds $2/\eta$ and the "
        r"start, seen from the minimizer, is not orthogonal to the top eigenspace."
    ),
    expected="corrected",
)

MODES = 40  # steps


def mode_history(spectrum, start, eta):
    """The coordinates of gradient descent along the eigenvectors of a quadratic, for MODES steps."""
    loss = Quadratic.with_spectrum(spectrum)  # along the axes, so that a component that is zero stays zero
    return np.asarray(trajectory(gd_step(loss, eta), start, MODES))


@regimes.check(
    eta=[0.2, 0.45, 0.6],
    controls={
        "an eigenvalue of zero": dict(lowest=0.0),
        "a start without the top component": dict(eta=0.6, first=0.0),
    },
)
def test_every_mode_by_itself(evidence, eta, lowest=0.3, first=1.0):
    spectrum = np.array([4.0, 2.5, 1.0, lowest])
    start = np.random.default_rng(evidence.seed()).uniform(0.5, 2, size=4) * [first, 1, 1, 1]
    history = mode_history(spectrum, start, eta)
    evidence.requires("every eigenvalue is positive and every component is there", lowest > 0 and first != 0)
    factor = 1 - eta * spectrum
    predicted = factor ** np.arange(MODES + 1)[:, None] * start
    size = np.maximum(np.abs(predicted), np.finfo(float).tiny)
    evidence.close("θ_t over (1 - eta λ)^t θ_0", history / size, np.sign(predicted), 1e-12)
    flips = (np.diff(np.sign(history), axis=0) != 0).sum(0)
    evidence.equal("sign changes in 40 steps", flips, np.where(eta * spectrum > 1, MODES, 0))
    evidence.equal("shrinks", (np.abs(history[-1]) < np.abs(start)).astype(int), (eta * spectrum < 2).astype(int))
    evidence.equal("grows", (np.abs(history[-1]) > np.abs(start)).astype(int), (eta * spectrum > 2).astype(int))
    for k, value in enumerate(spectrum):
        label, axes = f"eta λ = {eta * value:.3g}", ("step", "θ / θ_0")
        shown = np.abs(history[:, k]) < 10 * np.abs(start[k])
        evidence.series(label, np.arange(MODES + 1)[shown], history[shown, k] / start[k], axes=axes)


@regimes.counterexample(eta=0.2)
def test_the_printed_exponent(evidence, eta):
    spectrum, start = np.array([4.0, 2.5, 1.0, 0.3]), np.ones(4)
    history = mode_history(spectrum, start, eta)
    printed = (1 - eta * spectrum) ** np.arange(MODES)[:, None] * start
    evidence.equal("θ_t+1", history[1:], printed)


@regimes.counterexample(eta=0.6)
def test_a_coordinate_that_is_zero_does_not_diverge(evidence, eta):
    spectrum = np.array([4.0, 2.5, 1.0, 0.3])
    evidence.requires("eta > 2/λ^1", eta * spectrum[0] > 2)
    history = mode_history(spectrum, np.array([0.0, 1.0, 1.0, 1.0]), eta)
    evidence.at_least("|θ_40^1|", np.abs(history[-1, 0]), 1)


def contraction(spectrum, eta):
    """By how much the logarithm of each component falls per step."""
    history = np.abs(mode_history(spectrum, np.ones(len(spectrum)), eta))
    return -np.log(history[-1] / history[0]) / MODES


@faster.check(top=[0.2, 0.6, 0.99], controls={"up to eta λ = 1.8": dict(top=1.8)})
def test_the_rate_rises_with_the_curvature(evidence, top):
    eta, spectrum = 0.5, np.linspace(0.05, top, 25) / 0.5
    evidence.requires("eta λ <= 1", top <= 1)
    rates = contraction(spectrum, eta)
    evidence.monotone("rate of convergence as the curvature rises", rates, direction="increasing")
    evidence.series(f"eta λ up to {top:g}", eta * spectrum, rates, axes=("eta λ", "rate per step"), style="points")


@faster.counterexample(eta=0.45, steep=4.0, flat=1.0)
def test_a_steep_direction_that_is_slower(evidence, eta, steep, flat):
    rates = contraction(np.array([steep, flat]), eta)
    evidence.requires("both converge", np.all(rates > 0))
    evidence.at_least("rate of the steep direction", rates[0], rates[1])


FAR = 1e6


@diverges.check(
    product=[2.1, 2.5, 4.0],
    controls={
        "below the threshold": dict(product=1.9),
        "a start orthogonal to the top eigenspace": dict(product=2.1, top=0.0),
    },
)
def test_a_quadratic_is_left_for_good(evidence, product, top=1.0):
    loss = Quadratic.with_spectrum(SPECTRUM)
    evidence.requires("S > 2/eta", product > 2)
    starts = np.random.default_rng(evidence.seed()).normal(size=(50, 5)) * np.where(IN_TOP, top, 1.0)
    ends = jax.vmap(lambda x: gradient_descent(loss, x, product / SPECTRUM[0], 400))(starts)
    evidence.at_least(
        "distance after 400 steps over that at the start", np.abs(ends).max(1) / np.abs(starts).max(1), FAR
    )


def hyperbola(x):
    """``√(1 + x²)`` in each coordinate: sharpness 1 at the minimum, and less everywhere else."""
    return jnp.sum(jnp.sqrt(1 + x**2))


@diverges.counterexample(eta=3.0, x0=0.1)
def test_a_bounded_cycle_above_the_threshold(evidence, eta, x0):
    evidence.requires("S > 2/eta at the start", top_eigenvalue(hyperbola, np.array([x0])) > 2 / eta)
    end = float(gradient_descent(hyperbola, np.array([x0]), eta, 400)[0])
    evidence.constant("√5/2, the 2-cycle", np.sqrt(eta**2 / 4 - 1), abs(end), 1e-9)
    evidence.at_least("distance after 400 steps over that at the start", abs(end) / x0, FAR)


def rotated_bowl(x):
    """A quadratic with top eigenvalue 3 along (1, 1, 1)."""
    return jnp.sum(x) ** 2 / 3 + jnp.sum(x**2) / 2


LARGEST_SHARPNESS = {washboard: 9.2, hyperbola: 1.0, rotated_bowl: 3.0}


@strict_decrease.check(
    loss=[washboard, hyperbola, rotated_bowl],
    controls={
        "λ_max at the iterate only": dict(everywhere=False),
        "eta above 2/λ_max": dict(loss=rotated_bowl, share=(1.05, 1.2)),
    },
)
def test_the_loss_drops_below_two_over_the_largest_sharpness(evidence, loss, share=(0.01, 1.0), everywhere=True):
    random = np.random.default_rng(evidence.seed())
    x = random.normal(scale=2, size=(4000, 3))
    sharpness = np.asarray(jax.jit(jax.vmap(lambda x: top_eigenvalue(loss, x)))(x))
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
