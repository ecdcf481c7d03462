"""Descent by two-point estimates along Gaussian directions, with its second moment followed exactly."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import hessian_onset, mean_square_growth, onset

# Gauss-Hermite nodes and weights: exact for polynomials of degree 5 in each coordinate of a Gaussian direction, and the
# second moment of a step has degree 4.
GAUSSIAN = (-np.sqrt(3), 0.0, np.sqrt(3)), (1 / 6, 2 / 3, 1 / 6)
SIGNS = (-1.0, 0.0, 1.0), (1 / 2, 0.0, 1 / 2)
BASIS = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]


@partial(jax.jit, static_argnames="two_point")
def growth(etas, spectrum, nodes, weights, two_point=True):
    """Growth of E|x|² at each step size, a step being one of optax's SGD along the estimate in a direction."""
    hessian = BASIS @ jnp.diag(spectrum) @ BASIS.T
    directions = jnp.stack(jnp.meshgrid(*[nodes] * 3), -1).reshape(-1, 3)
    shares = jnp.prod(jnp.stack(jnp.meshgrid(*[weights] * 3), -1).reshape(-1, 3), 1)

    def loss(x):
        return x @ hessian @ x / 2

    def stepped(eta, u, x):
        estimate = (loss(x + u) - loss(x - u)) / 2 * u if two_point else jax.grad(loss)(x)
        updates, _ = optax.sgd(eta).update(estimate, optax.sgd(eta).init(x), x)
        return x + updates

    def maps(eta):
        return jax.vmap(lambda u: jax.vmap(lambda x: stepped(eta, u, x), out_axes=1)(jnp.eye(3)))(directions)

    return mean_square_growth(jax.vmap(maps)(etas), shares)


def measured(spectrum, rule=GAUSSIAN, two_point=True):
    """The step size from which on E|x|² grows; the largest eigenvalue is 1."""
    nodes, weights = map(jnp.asarray, rule)

    def grows(etas):
        return growth(jnp.asarray(etas), jnp.asarray(spectrum), nodes, weights, two_point=two_point)

    return onset(grows, 0.01, 2.5).value


SPECTRA = [(1.0, 0.02, 0.02), (1.0, 0.5, 0.1), (1.0, 0.3, 0.3), (1.0, 1.0, 1.0)]

threshold = Claim(
    "zeroth-order/threshold",
    source=Source("eosbench-statements", "Zeroth order"),
    printed=(
        r"Descent along $u\,(L(x + \delta u) - L(x - \delta u))/(2\delta)$ with a Gaussian direction $u$ in each step "
        r"is stable in the mean square, on a quadratic with eigenvalues $\lambda_i > 0$, if and only if $\eta$ is "
        r"below the root in $(0, 1/\lambda_1)$ of $\sum_i \frac{\eta\lambda_i}{2(1 - \eta\lambda_i)} = 1$. The root "
        r"is between $\frac{2}{\mathrm{tr} H + 2\lambda_1}$ and $\frac{2}{\mathrm{tr} H}$."
    ),
    expected="holds",
)


@threshold.check(
    spectrum=SPECTRA,
    controls={
        "2/λ_1, as gradient descent": dict(first=True),
        "directions of signs": dict(rule=SIGNS, spectrum=(1.0, 0.5, 0.1)),
        "2 % off": dict(half=0.51, spectrum=(1.0, 0.5, 0.1)),
    },
)
def test_the_mean_square_grows_from_the_root_on(evidence, spectrum, rule=GAUSSIAN, half=0.5, first=False):
    values = np.array(spectrum)
    root = brentq(lambda eta: (half * eta * values / (1 - eta * values)).sum() - 1, 1e-9, 1 - 1e-9, xtol=1e-14)
    evidence.requires("Gaussian directions", rule is GAUSSIAN)
    eta = measured(spectrum, rule)
    evidence.constant("eta at the onset, over the root", 1.0, eta / (2.0 if first else root), 1e-7)
    evidence.at_least("eta at the onset (tr H + 2 λ_1)/2", eta * (values.sum() + 2) / 2, 1 - 1e-9, uncertainty=1e-10)
    evidence.at_most("eta at the onset tr H/2", eta * values.sum() / 2, 1.0)
    evidence.series("onset", [values.sum()], [eta], axes=("tr H, λ_1 = 1", "η"), style="points")


DRAWS = 1_000_000


@threshold.check(spectrum=SPECTRA, controls={"directions of signs": dict(signs=True, spectrum=(1.0, 0.5, 0.1))})
def test_drawn_directions_have_the_second_moment_of_the_rule(evidence, spectrum, signs=False):
    """Growth of E|x|² in one step from (1, 1, 1)/√3, at the onset, by a million draws of NumPy's.

    Beside the quadrature that the other checks rest on; it shares with it neither rule nor step.
    """
    hessian, x, eta = BASIS @ np.diag(spectrum) @ BASIS.T, np.full(3, 3**-0.5), measured(spectrum)
    normal = np.random.default_rng(evidence.seed()).standard_normal((DRAWS, 3))
    drawn = np.sign(normal) if signs else normal
    squares = ((x - eta * (drawn @ hessian @ x)[:, None] * drawn) ** 2).sum(1)
    # E (u·g)² u uᵀ is |g|² + 2 g gᵀ for a Gaussian u, so E|x'|² = |x|² - 2 eta x·g + eta² (n + 2)|g|².
    g = hessian @ x
    exact = 1 - 2 * eta * x @ g + 5 * eta**2 * g @ g
    error = squares.std() / DRAWS**0.5
    evidence.constant(
        "E|x|² after one step, drawn, over Isserlis' formula",
        1.0,
        squares.mean() / exact,
        0.02,
        uncertainty=4 * error / exact,
    )
    nodes, weights = map(jnp.asarray, GAUSSIAN)
    u = np.stack(np.meshgrid(*[nodes] * 3), -1).reshape(-1, 3)
    shares = np.prod(np.stack(np.meshgrid(*[weights] * 3), -1).reshape(-1, 3), 1)
    by_rule = shares @ ((x - eta * (u @ g)[:, None] * u) ** 2).sum(1)
    evidence.close("E|x|² after one step, by the rule", by_rule, exact, 1e-12)


whole_spectrum = Claim(
    "zeroth-order/whole-spectrum",
    source=Source("song-zeroth-order", "Abstract"),
    printed=(
        "whereas FO stability is governed solely by the largest Hessian eigenvalue, mean-square stability of ZO "
        "methods depends on the entire Hessian spectrum."
    ),
    expected="holds",
    uses=("zeroth-order/threshold",),
)


@whole_spectrum.check(which=[0, 1, 2], controls={"first order": dict(which=1, two_point=False)})
def test_every_eigenvalue_moves_the_threshold(evidence, which, two_point=True):
    """By ten per cent of one eigenvalue, in 1/eta relative to what it is."""
    before = np.array([1.0, 0.6, 0.3])
    after = before * np.where(np.arange(3) == which, 0.9, 1.0)
    moved = measured(before, two_point=two_point) / measured(after, two_point=two_point)
    evidence.at_most("threshold with one eigenvalue 10 % smaller, inverse", moved, 0.996)


@whole_spectrum.check(controls={"the same spectrum twice": dict(other=(1.0, 0.5, 0.5))})
def test_the_trace_and_the_largest_one_do_not_decide(evidence, other=(1.0, 0.95, 0.05)):
    ratio = measured(other) / measured((1.0, 0.5, 0.5))
    evidence.at_least("|ratio of two thresholds of equal trace and λ_1 - 1|", abs(ratio - 1), 0.01)


@whole_spectrum.check(spectrum=SPECTRA, controls={"zeroth order": dict(spectrum=(1.0, 0.5, 0.1), first=False)})
def test_gradient_descent_grows_from_the_largest_one_on(evidence, spectrum, first=True):
    hessian = BASIS @ np.diag(spectrum) @ BASIS.T
    found = (
        hessian_onset(Partial(optax.sgd, jnp.asarray(1.0)), hessian, 0.5, 3.5).value if first else measured(spectrum)
    )
    evidence.constant("eta λ_1 at the onset", 2.0, found, 1e-8)
