"""The line of four kinds of momentum: found by running them, by the derivatives of their step, and proved."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Source, stability
from eosbench.dynamics import growth, hessian_onset
from eosbench.problems import Quadratic
from eosbench.proof import jury_identity, prove_identity

ETA = 0.01
BASIS = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
HESSIAN = np.asarray(jax.hessian(Quadratic.with_spectrum([1.0, 0.6, 0.1], BASIS))(np.zeros(3)))  # λ_1 = 1


def compare(evidence, optimizer, form, claimed, stable):
    """Eta λ_1 where runs begin to grow and, if asked, where the derivatives of a step say so, over what is claimed."""
    onset = hessian_onset(optimizer, HESSIAN, 0.2 / ETA, 1000 / ETA)
    evidence.constant(f"eta λ_1 at the onset, over {form}", 1.0, ETA * onset.value / claimed, 1e-6)
    if stable:
        evidence.constant(f"eta λ_1 of stability, over {form}", 1.0, ETA * stability(optimizer).line / claimed, 1e-9)

    near, start = np.linspace(0.97, 1.03, 33), jnp.full(3, 1e-100)
    hessians = jnp.asarray((near * claimed / ETA)[:, None, None] * HESSIAN)
    rates = np.asarray(growth(optimizer, optimizer().init(start), start, hessians))
    kept, axes = np.isfinite(rates), (f"η λ_1 over {form}", "growth over 2000 steps")
    evidence.series(f"{form} = {claimed:.4g}", near[kept], rates[kept], axes=axes)


def prove(evidence, *step, **signs):
    """The two roots of each eigenvector, on either side of the threshold."""
    identity = jury_identity(*step, **signs)
    evidence.proved("on either side of the threshold", prove_identity(identity), identity.theorem)


heavy_ball = Claim(
    "momentum/heavy-ball",
    source=Source("eosbench-statements", "Momentum, heavy ball"),
    printed=(
        r"Heavy-ball momentum, $v \leftarrow \beta v + g$ and $x \leftarrow x - \eta v$ with $0 \leq \beta < 1$, "
        r"converges on every quadratic with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < 2 + 2\beta$, and "
        r"diverges from almost every start if $\eta\lambda_1 > 2 + 2\beta$."
    ),
    expected="holds",
)


@heavy_ball.check(
    beta=[0.0, 0.5, 0.9, 0.99],
    controls={
        "2 - 2 beta": dict(beta=0.5, sign=-1),
        "without momentum": dict(beta=0.9, sign=0),
        "Nesterov's step": dict(beta=0.5, nesterov=True),
    },
)
def test_heavy_ball_grows_from_two_plus_two_beta_on(evidence, beta, sign=1, nesterov=False):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    optimizer = Partial(optax.sgd, jnp.asarray(ETA), momentum=jnp.asarray(beta), nesterov=nesterov)
    compare(evidence, optimizer, "(2 + 2 beta)", 2 + 2 * sign * beta, beta == 0.9)


@heavy_ball.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_heavy_ball_on_every_quadratic(evidence, two="2"):
    """The statement is that of Jury's criterion, which is cited; `jury_identity` says what is proved of it."""
    prove(
        evidence,
        {"g": "A@x", "m1": "b*m + g", "x1": "x - eta*m1"},
        ("1", "-eta*b", "-eta"),
        ("0", "b", "1"),
        ("1", f"{two} + 2*b"),
        excess={"factor": "1", "p(1)": "eta*la", "1 - determinant": "d", "1 + determinant": "1 + b"},
        remainder={"1 - determinant": "-given3"},
    )


nesterov = Claim(
    "momentum/nesterov",
    source=Source("eosbench-statements", "Momentum, Nesterov"),
    printed=(
        r"Nesterov momentum, $v \leftarrow \beta v + g$ and $x \leftarrow x - \eta(g + \beta v)$ with $0 \leq \beta < "
        r"1$, converges on every quadratic with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < \frac{2 + "
        r"2\beta}{1 + 2\beta}$, and diverges from almost every start if $\eta\lambda_1 > \frac{2 + 2\beta}{1 + "
        r"2\beta}$."
    ),
    expected="holds",
)


@nesterov.check(
    beta=[0.0, 0.5, 0.9, 0.99],
    controls={
        "the threshold of the heavy ball": dict(beta=0.5, twice=0),
        "the step of the heavy ball": dict(beta=0.5, nesterov=False),
    },
)
def test_nesterov_grows_below_the_heavy_ball(evidence, beta, twice=2, nesterov=True):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    optimizer = Partial(optax.sgd, jnp.asarray(ETA), momentum=jnp.asarray(beta), nesterov=nesterov)
    compare(evidence, optimizer, "(2 + 2 beta)/(1 + 2 beta)", (2 + 2 * beta) / (1 + twice * beta), beta == 0.9)


@nesterov.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_nesterov_on_every_quadratic(evidence, two="2"):
    """The statement is that of Jury's criterion, which is cited; `jury_identity` says what is proved of it."""
    prove(
        evidence,
        {"g": "A@x", "m1": "b*m + g", "x1": "x - eta*(g + b*m1)"},
        ("1", "-eta*b**2", "-eta*(1 + b)"),
        ("0", "b", "1"),
        ("1 + 2*b", f"{two} + 2*b"),
        excess={
            "factor": "1 + 2*b",
            "p(1)": "eta*la",
            "1 - determinant": "(1 + 2*b)*(d + eta*la*b)",
            "1 + determinant": "1 + b + b*c",
        },
        remainder={"1 - determinant": "-(1 + 2*b)*given3", "1 + determinant": "-b*given2"},
    )


def averaged(eta, beta):
    """Gradient descent along a moving average of the gradients."""
    return optax.chain(optax.ema(beta, debias=False), optax.sgd(eta))


def summed(eta, beta):
    """Gradient descent along a sum of the gradients, the heavy ball."""
    return optax.chain(optax.trace(beta), optax.sgd(eta))


ema = Claim(
    "momentum/ema",
    source=Source("eosbench-statements", "Momentum, moving average"),
    printed=(
        r"Momentum as a moving average, $m \leftarrow \beta m + (1 - \beta) g$ and $x \leftarrow x - \eta m$ with "
        r"$0 \leq \beta < 1$, converges on every quadratic with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < "
        r"\frac{2 + 2\beta}{1 - \beta}$, which is 38 for $\beta = 0.9$, and diverges from almost every start if "
        r"$\eta\lambda_1 > \frac{2 + 2\beta}{1 - \beta}$."
    ),
    expected="holds",
)


@ema.check(
    beta=[0.0, 0.5, 0.9, 0.99],
    controls={
        "the threshold of the heavy ball": dict(beta=0.9, share=0),
        "the step of the heavy ball": dict(beta=0.5, make=summed),
    },
)
def test_a_moving_average_grows_far_above_the_heavy_ball(evidence, beta, share=1, make=averaged):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    optimizer = Partial(make, jnp.asarray(ETA), jnp.asarray(beta))
    compare(evidence, optimizer, "(2 + 2 beta)/(1 - beta)", (2 + 2 * beta) / (1 - share * beta), beta == 0.9)


@ema.check(controls={"36 in place of 38": dict(claimed=36.0)})
def test_it_is_38_for_nine_tenths(evidence, claimed=38.0):
    onset = hessian_onset(Partial(averaged, jnp.asarray(ETA), jnp.asarray(0.9)), HESSIAN, 2 / ETA, 100 / ETA)
    evidence.constant("38", claimed, ETA * onset.value, 1e-5)


@ema.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_a_moving_average_on_every_quadratic(evidence, two="2"):
    """The statement is that of Jury's criterion, which is cited; `jury_identity` says what is proved of it."""
    prove(
        evidence,
        {"g": "A@x", "m1": "b*m + d*g", "x1": "x - eta*m1"},
        ("1", "-eta*b", "-eta*d"),
        ("0", "b", "d"),
        ("d", f"{two} + 2*b"),
        excess={"factor": "d", "p(1)": "d*eta*la", "1 - determinant": "d*d", "1 + determinant": "d*(1 + b)"},
        remainder={"1 - determinant": "-d*given3"},
    )


optimistic = Claim(
    "momentum/optimistic",
    source=Source("eosbench-statements", "Momentum, optimistic"),
    printed=(
        r"Optimistic gradient descent, $x_{t+1} = x_t - \eta(2 g_t - g_{t-1})$, converges on every quadratic with "
        r"eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < \frac{2}{3}$, and diverges from almost every start if "
        r"$\eta\lambda_1 > \frac{2}{3}$."
    ),
    expected="holds",
)


@optimistic.check(eta=[0.01, 0.2], controls={"gradient descent": dict(again=0.0), "its threshold": dict(claimed=2.0)})
def test_optimistic_descent_grows_from_two_thirds_on(evidence, eta, again=1.0, claimed=2 / 3):
    optimizer = Partial(optax.optimistic_gradient_descent, jnp.asarray(eta), beta=jnp.asarray(again))
    onset = hessian_onset(optimizer, HESSIAN, 0.2 / eta, 4 / eta)
    evidence.constant("eta λ_1 at the onset, over 2/3", 1.0, eta * onset.value / claimed, 1e-6)
    if eta == 0.2:
        evidence.constant("eta λ_1 of stability, over 2/3", 1.0, eta * stability(optimizer).line / claimed, 1e-9)


@optimistic.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_optimistic_descent_on_every_quadratic(evidence, two="2"):
    """The memory is the gradient before. Jury's criterion is cited; `jury_identity` says what is proved of it."""
    prove(
        evidence,
        {"m1": "A@x", "x1": "x - eta*(2*m1 - m)"},
        ("1", "eta", "-2*eta"),
        ("0", "0", "1"),
        ("3", two),
        excess={"factor": "3", "p(1)": "eta*la", "1 - determinant": "3 + 3*eta*la", "1 + determinant": "1 + c"},
        remainder={"1 + determinant": "-given2"},
        scalars="",
        nonnegative="",
        given=(),
    )
