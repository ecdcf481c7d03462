"""Gradient descent on quadratics, on which the descent lemma is tight."""

import jax
import numpy as np

from eosbench import Claim, Source
from eosbench.curvature import dense_sharpness
from eosbench.dynamics import gd_step, gradient_descent, trajectory
from eosbench.problems import Quadratic
from eosbench.proof import Identity, prove_identity

from .setting import descent_bound, hyperbola

SPECTRUM = np.array([2.0, 2.0, 1.6, 0.7, 0.2])
IN_TOP = np.array([True, True, False, False, False])


def random_quadratic(random):
    """A quadratic with SPECTRUM, whose top eigenvalue is double, along random axes."""
    basis = np.linalg.qr(random.normal(size=(5, 5)))[0]
    return Quadratic.with_spectrum(SPECTRUM, basis), basis


def prove(evidence, identity):
    """An identity about quadratics ½ θᵀAθ of any dimension; their gradient is g = Aθ."""
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


QUADRATIC = dict(
    matrices={"A": ("p", "p", "symmetric"), "x": ("p", "1"), "t": ("p", "1"), "v": ("p", "1")},
    where={"g": "A@x", "x1": "x - eta*g"},
)

tight_on_quadratics = Claim(
    "descent/tight-on-quadratics",
    source=Source("shapira-review", "Section 2, Lemma 1 and Example 2.1"),
    printed=(
        r"This bound is tight, as the following example shows: Consider a quadratic function $\mathcal{L}(\theta) = "
        r"\frac{1}{2}\theta^\top A\theta$ ... If $\eta > \frac{2}{\lambda^1}$, the first coordinate diverges "
        r"exponentially, demonstrating the tightness of the descent lemma's bound."
    ),
    expected="holds",
)


@tight_on_quadratics.check(
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


@tight_on_quadratics.check(product=[0.4, 1.0, 1.9, 2.04], controls={"2 % less sharpness is no bound": dict(share=0.98)})
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


@tight_on_quadratics.check(controls={"a start orthogonal to the top eigenspace": dict(top=0.0)})
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


@tight_on_quadratics.check(
    proves=True, controls={"the bound 2 % larger": dict(half="51/100"), "2.04 in place of 2": dict(two="51/25")}
)
def test_tightness_on_every_quadratic(evidence, half="1/2", two="2"):
    """The change of the loss is the bound less eta²/2 gᵀ(l - A) g, which vanishes where A g = l g; and there is such g.

    For v with A v = λ v the component vᵀθ is multiplied by 1 - eta λ, which is beyond 1 in magnitude for eta λ > 2,
    written as 2 + c with c > 0: it diverges exponentially.
    """
    change, bound = "1/2*x1.T@A@x1 - 1/2*x.T@A@x", f"{half}*eta*({two} - eta*la)*g.T@g"
    statements = (
        ("∇L = Aθ", "1/2*(x + t).T@A@(x + t)", "=", "1/2*x.T@A@x + g.T@t + 1/2*t.T@A@t"),
        ("change of the loss", change, "=", f"-{bound} - 1/2*eta**2*g.T@(la*g - A@g)"),
        ("vᵀθ after a step", "v.T@x1", "=", "(1 - eta*la)*v.T@x"),
        ("(1 - eta λ)² for eta λ = 2 + c", "(1 - (2 + c))**2", ">", "1"),
    )
    identity = Identity(
        statements,
        "eta la c",
        **QUADRATIC,
        given=(("v.T@A", "la*v.T"),),
        positive="c",
        remainder={"vᵀθ after a step": "-eta*given1@x"},
        excess={"(1 - eta λ)² for eta λ = 2 + c": "2*c + c**2"},
    )
    prove(evidence, identity)


GROWTH = 1e6  # of the distance, on the way to infinity

diverges_above_threshold = Claim(
    "descent/diverges-above-threshold",
    source=Source("shapira-review", "Section 1"),
    printed=(
        r"The path taken by gradient descent is provably diverging if the sharpness exceeds this threshold [$2/\eta$] "
        r"at any step."
    ),
    corrected=(
        r"On a quadratic, the path taken by gradient descent diverges if the sharpness exceeds $2/\eta$ and the start, "
        r"seen from the minimizer, is not orthogonal to the top eigenspace."
    ),
    expected="corrected",
    severity="false",
    why=(
        "A loss that is no quadratic may hold the path in a bounded cycle, or bring the sharpness back below "
        "the threshold."
    ),
)


@diverges_above_threshold.check(
    product=[2.01, 2.5, 4.0],
    controls={
        "below the threshold": dict(product=1.99),
        "a start orthogonal to the top eigenspace": dict(product=2.1, top=0.0),
    },
)
def test_a_quadratic_is_left_for_good(evidence, product, top=1.0):
    """In as many steps as let the top component grow, or shrink, by a factor of e^40."""
    loss = Quadratic.with_spectrum(SPECTRUM)
    steps = round(40 / abs(np.log(product - 1)))
    evidence.requires("S > 2/eta", product > 2)
    starts = np.random.default_rng(evidence.seed()).normal(size=(50, 5)) * np.where(IN_TOP, top, 1.0)
    ends = jax.vmap(lambda x: gradient_descent(loss, x, product / SPECTRUM[0], steps))(starts)
    evidence.at_least("distance in the end over that at the start", np.abs(ends).max(1) / np.abs(starts).max(1), GROWTH)


@diverges_above_threshold.check(proves=True, controls={"a factor 2 % off": dict(one="51/50")})
def test_every_quadratic_is_left_for_good(evidence, one="1"):
    """With A v = λ v, vᵀθ is multiplied by 1 - eta λ in every step: with eta λ = 2 + c its square grows by (1 + c)²."""
    statements = (
        ("vᵀθ after a step", "v.T@x1", "=", f"({one} - eta*la)*v.T@x"),
        ("(1 - eta λ)² for eta λ = 2 + c", "(1 - (2 + c))**2", "=", "(1 + c)**2"),
        ("the growth", "(1 + c)**2", ">", "1"),
    )
    identity = Identity(
        statements,
        "eta la c",
        **QUADRATIC,
        given=(("v.T@A", "la*v.T"),),
        positive="c",
        remainder={"vᵀθ after a step": "-eta*given1@x"},
        excess={"the growth": "2*c + c**2"},
    )
    prove(evidence, identity)


@diverges_above_threshold.counterexample(eta=3.0, x0=0.1)
def test_a_bounded_cycle_above_the_threshold(evidence, eta, x0):
    evidence.requires("S > 2/eta at the start", dense_sharpness(hyperbola, np.array([x0])) > 2 / eta)
    end = float(gradient_descent(hyperbola, np.array([x0]), eta, 400)[0])
    evidence.requires("it settles on the 2-cycle ±√(eta²/4 - 1)", abs(abs(end) - np.sqrt(eta**2 / 4 - 1)) < 1e-9)
    evidence.at_least("distance after 400 steps over that at the start", abs(end) / x0, GROWTH)


STEPS = 40


def mode_history(spectrum, start, eta):
    """The coordinates of gradient descent along the eigenvectors of a quadratic, for STEPS steps."""
    loss = Quadratic.with_spectrum(spectrum)  # along the axes, so that a component that is zero stays zero
    return np.asarray(trajectory(gd_step(loss, eta), start, STEPS))


quadratic_regimes = Claim(
    "descent/quadratic-regimes",
    source=Source("shapira-review", "Example 2.1"),
    printed=(
        r"$\theta_{t+1} = (I - \eta A)^t \theta_0$, so $\theta_{t+1}^k = (1 - \eta\lambda^k)^t \theta_0^k$. If $\eta > "
        r"\frac{2}{\lambda^1}$, the first coordinate diverges exponentially. For any $i$, if $\eta < "
        r"\frac{2}{\lambda^i}$, $\theta^i$ converges exponentially; for $\eta < \frac{1}{\lambda^i}$ monotonically, "
        r"for $\frac{1}{\lambda^i} < \eta < \frac{2}{\lambda^i}$ it oscillates as it converges."
    ),
    corrected=(
        r"$\theta_{t+1} = (I - \eta A)^{t+1} \theta_0$, so $\theta_{t+1}^k = (1 - \eta\lambda^k)^{t+1} \theta_0^k$. If "
        r"$\eta > \frac{2}{\lambda^1} > 0$ and $\theta_0^1 \neq 0$, the first coordinate diverges exponentially. For "
        r"any $i$ with $\lambda^i > 0$ and $\theta_0^i \neq 0$, if $\eta < \frac{2}{\lambda^i}$, $\theta^i$ converges "
        r"exponentially; for $\eta < \frac{1}{\lambda^i}$ monotonically, for $\frac{1}{\lambda^i} < \eta < "
        r"\frac{2}{\lambda^i}$ it oscillates as it converges."
    ),
    expected="corrected",
    severity="slip",
)


@quadratic_regimes.check(
    eta=[0.2, 0.6, 0.2475, 0.2525, 0.4975, 0.5025],  # the last four 1 % below and above 1/λ and 2/λ for the first λ
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
    predicted = factor ** np.arange(STEPS + 1)[:, None] * start
    size = np.maximum(np.abs(predicted), np.finfo(float).tiny)
    # A step rounds x and eta λ x, whose difference is (1 - eta λ) x.
    rounding = 4 * STEPS * np.finfo(float).eps * (1 + eta * spectrum) / np.abs(factor)
    evidence.close("θ_t over (1 - eta λ)^t θ_0", history / size, np.sign(predicted), rounding)
    flips = (np.diff(np.sign(history), axis=0) != 0).sum(0)
    evidence.equal("sign changes in 40 steps", flips, np.where(eta * spectrum > 1, STEPS, 0))
    evidence.equal("shrinks", (np.abs(history[-1]) < np.abs(start)).astype(int), (eta * spectrum < 2).astype(int))
    evidence.equal("grows", (np.abs(history[-1]) > np.abs(start)).astype(int), (eta * spectrum > 2).astype(int))
    for k, value in enumerate(spectrum):
        label, axes = f"eta λ = {eta * value:.3g}", ("step", "θ / θ_0")
        shown = np.abs(history[:, k]) < 10 * np.abs(start[k])
        evidence.series(label, np.arange(STEPS + 1)[shown], history[shown, k] / start[k], axes=axes)


@quadratic_regimes.check(
    proves=True,
    controls={"1.02 in place of 1": dict(one="51/50"), "2.04 in place of 2": dict(two="51/25")},
)
def test_the_regimes_of_every_mode(evidence, one="1", two="2"):
    """A step multiplies vᵀθ by f = 1 - eta λ if A v = λ v, and t steps by f^t (by induction).

    With positive a, b and c: for eta λ = 2 + c it is f < -1; for eta λ = 1 + a with a + b = 1, -1 < f < 0; for
    eta λ = a, with a + b = 1, 0 < f < 1.
    """
    beyond, between, below = "f < -1 for eta λ > 2", "-1 < f for 1 < eta λ < 2", "f < 0 for 1 < eta λ < 2"
    monotone, shrinks = "0 < f for eta λ < 1", "f < 1 for eta λ < 1"
    statements = (
        ("vᵀθ after a step", "v.T@x1", "=", "(1 - eta*la)*v.T@x"),
        (beyond, "-1", ">", f"1 - ({two} + c)"),
        (between, "1 - (1 + a)", ">", "-1"),
        (below, "0", ">", f"1 - ({one} + a)"),
        (monotone, "1 - a", ">", "0"),
        (shrinks, "1", ">", "1 - a"),
    )
    identity = Identity(
        statements,
        "eta la a b c",
        **QUADRATIC,
        given=(("v.T@A", "la*v.T"), ("a + b", "1")),
        positive="a b c",
        remainder={"vᵀθ after a step": "-eta*given1@x", between: "-given2", monotone: "-given2"},
        excess={beyond: "c", between: "b", below: "a", monotone: "b", shrinks: "a"},
    )
    prove(evidence, identity)


@quadratic_regimes.counterexample(eta=0.2)
def test_the_printed_exponent(evidence, eta):
    spectrum, start = np.array([4.0, 2.5, 1.0, 0.3]), np.ones(4)
    history = mode_history(spectrum, start, eta)
    printed = (1 - eta * spectrum) ** np.arange(STEPS)[:, None] * start
    evidence.equal("θ_t+1", history[1:], printed)


@quadratic_regimes.counterexample(eta=0.6)
def test_a_coordinate_that_is_zero_does_not_diverge(evidence, eta):
    spectrum = np.array([4.0, 2.5, 1.0, 0.3])
    evidence.requires("eta > 2/λ^1", eta * spectrum[0] > 2)
    history = mode_history(spectrum, np.array([0.0, 1.0, 1.0, 1.0]), eta)
    evidence.at_least("|θ_40^1|", np.abs(history[-1, 0]), 1)


def contraction(spectrum, eta):
    """By how much the logarithm of each component falls per step."""
    history = np.abs(mode_history(spectrum, np.ones(len(spectrum)), eta))
    return -np.log(history[-1] / history[0]) / STEPS


high_curvature_is_faster = Claim(
    "descent/high-curvature-is-faster",
    source=Source("shapira-review", "Example 2.1"),
    printed=(
        "Directions of high curvature, corresponding to high eigenvalues, converges faster than directions of low "
        "curvature."
    ),
    corrected=(
        r"Of two directions with $\lambda_a > \lambda_b > 0$ the one of high curvature converges faster if and only if "
        r"$\eta(\lambda_a + \lambda_b) < 2$; so it is among directions with $\eta\lambda \leq 1$."
    ),
    expected="corrected",
    severity="missing hypothesis",
)


@high_curvature_is_faster.check(top=[0.2, 0.6, 0.99], controls={"up to eta λ = 1.8": dict(top=1.8)})
def test_the_rate_rises_with_the_curvature(evidence, top):
    eta, spectrum = 0.5, np.linspace(0.05, top, 25) / 0.5
    evidence.requires("eta λ <= 1", top <= 1)
    rates = contraction(spectrum, eta)
    evidence.monotone("rate of convergence as the curvature rises", rates, direction="increasing")
    evidence.series(f"eta λ up to {top:g}", eta * spectrum, rates, axes=("eta λ", "rate per step"), style="points")


@high_curvature_is_faster.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_which_of_two_curvatures_is_faster(evidence, two="2"):
    """The squares of the two factors differ by eta (λ_a - λ_b)(2 - eta (λ_a + λ_b)).

    Of two directions with λ_a > λ_b the steep one is the faster one if and only if eta (λ_a + λ_b) < 2. This is so
    where eta λ_a <= 1: with eta λ_b = s > 0, eta λ_a = s + d, and s + d + e = 1, for d > 0 and e >= 0.
    """
    exact, faster = "(1 - eta λ_b)² - (1 - eta λ_a)²", "the same for eta λ <= 1"
    statements = (
        (exact, "(1 - eta*q)**2 - (1 - eta*p)**2", "=", f"eta*(p - q)*({two} - eta*(p + q))"),
        (faster, "(1 - s)**2", ">", "(1 - s - d)**2"),
    )
    identity = Identity(
        statements,
        "eta p q s d e",
        given=(("s + d + e", "1"),),
        positive="s d",
        nonnegative="e",
        remainder={faster: "-2*d*given1"},
        excess={faster: "d**2 + 2*d*e"},
    )
    prove(evidence, identity)


@high_curvature_is_faster.check(two=2.0, controls={"2.04 in place of 2": dict(two=2.04)})
def test_which_of_two_directions_is_faster(evidence, two):
    """Of all pairs from a grid of curvatures on which no eta λ is 1 and no two add up to 2."""
    eta, products = 0.5, np.geomspace(0.05, 1.93, 100)
    rates = contraction(products / eta, eta)
    flat, steep = np.triu_indices(len(products), k=1)
    evidence.equal(
        "the steep one is faster, against eta (λ_a + λ_b) < 2",
        rates[steep] > rates[flat],
        products[steep] + products[flat] < two,
    )


@high_curvature_is_faster.counterexample(eta=0.45, steep=4.0, flat=1.0)
def test_a_steep_direction_that_is_slower(evidence, eta, steep, flat):
    rates = contraction(np.array([steep, flat]), eta)
    evidence.requires("both converge", np.all(rates > 0))
    evidence.at_least("rate of the steep direction", rates[0], rates[1])
