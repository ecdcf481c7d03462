"""The line of descent and momentum with weight decay: found by running them, by derivatives of a step, and proved."""

import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from eosbench import Claim, Source, stability
from eosbench.dynamics import hessian_onset
from eosbench.problems import Quadratic
from eosbench.proof import jury_identity, prove_identity

ETA = 0.01
BASIS = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
HESSIAN = np.asarray(Quadratic.with_spectrum([1.0, 0.5, 0.2], BASIS).hessian)  # λ_1 = 1


def coupled(eta, beta, omega):
    """Decay that is added to the gradient, before it goes into the sum."""
    return optax.chain(optax.add_decayed_weights(omega), optax.trace(beta), optax.sgd(eta))


def decoupled(eta, beta, omega):
    """Decay that is added to the sum."""
    return optax.chain(optax.trace(beta), optax.add_decayed_weights(omega), optax.sgd(eta))


def averaged(eta, beta, omega):
    """Decay that is added to a moving average."""
    return optax.chain(optax.ema(beta, debias=False), optax.add_decayed_weights(omega), optax.sgd(eta))


def compare(evidence, make, beta, omega, form, claimed):
    """Eta λ_1 where runs begin to grow and, in one case, where the derivatives of a step say so."""
    evidence.requires("0 < eta omega < 2", 0 < ETA * omega < 2)
    optimizer = Partial(make, jnp.asarray(ETA), jnp.asarray(beta), jnp.asarray(omega))
    onset = hessian_onset(optimizer, HESSIAN, 0.02 / ETA, 1000 / ETA)
    evidence.constant(f"eta λ_1 at the onset, over {form}", 1.0, ETA * onset.value / claimed, 1e-6)
    if omega == OMEGAS[-1] and beta in (0.0, 0.9):
        line = stability(optimizer).line
        evidence.constant(f"eta λ_1 of stability, over {form}", 1.0, ETA * line / claimed, 1e-9)


def prove(evidence, *step, **signs):
    """The two roots of each eigenvector, on either side of the threshold; Jury's criterion is cited."""
    identity = jury_identity(*step, **signs)
    evidence.proved("on either side of the threshold", prove_identity(identity), identity.theorem)


OMEGAS = [0.3, 30.0]
WITH_MOMENTUM = {"scalars": "b d w", "given": (("b + d", "1"),)}
OVERSHOOTS = {"scalars": "b d w e", "given": (("b + d", "1"), ("eta*w + e", "2"))}  # not by decay alone

gd = Claim(
    "decay/gd",
    source=Source("eosbench-statements", "Weight decay, gradient descent"),
    printed=(
        r"Gradient descent with weight decay, $x \leftarrow x - \eta(g + \omega x)$ with $0 < \eta\omega < 2$, "
        r"converges to 0 on every quadratic about 0 with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < 2 - "
        r"\eta\omega$, and diverges from almost every start if $\eta\lambda_1 > 2 - \eta\omega$."
    ),
    expected="holds",
)


@gd.check(omega=OMEGAS, controls={"2/eta, as without decay": dict(share=0), "2 + eta omega": dict(share=-1)})
def test_descent_with_decay_grows_sooner(evidence, omega, share=1):
    compare(evidence, decoupled, 0.0, omega, "(2 - eta omega)", 2 - share * ETA * omega)


@gd.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_descent_with_decay_on_every_quadratic(evidence, two="2"):
    """There is no memory, and m stands for nothing. `jury_identity` says what is proved."""
    prove(
        evidence,
        {"m1": "A@x", "x1": "x - eta*(m1 + w*x)"},
        ("1 - eta*w", "0", "-eta"),
        ("0", "0", "1"),
        ("1", f"{two} - eta*w"),
        excess={"factor": "1", "p(1)": "eta*la + eta*w", "1 - determinant": "1", "1 + determinant": "1"},
        remainder={},
        scalars="w",
        nonnegative="",
        given=(),
    )


hb_coupled = Claim(
    "decay/hb-coupled",
    source=Source("eosbench-statements", "Weight decay, heavy ball, coupled"),
    printed=(
        r"Heavy-ball momentum with decay in the gradient, $v \leftarrow \beta v + g + \omega x$ and $x \leftarrow x - "
        r"\eta v$ with $0 \leq \beta < 1$ and $\omega > 0$, converges to 0 on every quadratic about 0 with "
        r"eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < 2 + 2\beta - \eta\omega$, and diverges from almost "
        r"every start if $\eta\lambda_1 > 2 + 2\beta - \eta\omega$."
    ),
    expected="holds",
)


@hb_coupled.check(
    beta=[0.5, 0.9],
    omega=OMEGAS,
    controls={"the decoupled threshold": dict(beta=0.9, share=1.9), "decay added to the sum": dict(make=decoupled)},
)
def test_coupled_decay_moves_the_line_by_eta_omega(evidence, beta, omega, share=1, make=coupled):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    compare(evidence, make, beta, omega, "(2 + 2 beta - eta omega)", 2 + 2 * beta - share * ETA * omega)


@hb_coupled.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_coupled_decay_on_every_quadratic(evidence, two="2"):
    """`jury_identity` says what is proved."""
    prove(
        evidence,
        {"m1": "b*m + A@x + w*x", "x1": "x - eta*m1"},
        ("1 - eta*w", "-eta*b", "-eta"),
        ("w", "b", "1"),
        ("1", f"{two} + 2*b - eta*w"),
        excess={"factor": "1", "p(1)": "eta*la + eta*w", "1 - determinant": "d", "1 + determinant": "1 + b"},
        remainder={"1 - determinant": "-given3"},
        **WITH_MOMENTUM,
    )


hb_decoupled = Claim(
    "decay/hb-decoupled",
    source=Source("eosbench-statements", "Weight decay, heavy ball, decoupled"),
    printed=(
        r"Heavy-ball momentum with decay in the step, $v \leftarrow \beta v + g$ and $x \leftarrow x - \eta(v + "
        r"\omega x)$ with $0 \leq \beta < 1$ and $0 < \eta\omega < 2$, converges to 0 on every quadratic about 0 with "
        r"eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < (2 - \eta\omega)(1 + \beta)$, and diverges from almost "
        r"every start if $\eta\lambda_1 > (2 - \eta\omega)(1 + \beta)$."
    ),
    expected="holds",
)


@hb_decoupled.check(
    beta=[0.5, 0.9],
    omega=OMEGAS,
    controls={"the coupled threshold": dict(beta=0.9, again=0), "decay added to the gradient": dict(make=coupled)},
)
def test_decoupled_decay_moves_the_line_by_more(evidence, beta, omega, again=1, make=decoupled):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    claimed = 2 + 2 * beta - ETA * omega * (1 + again * beta)
    compare(evidence, make, beta, omega, "(2 - eta omega)(1 + beta)", claimed)


@hb_decoupled.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_decoupled_decay_on_every_quadratic(evidence, two="2"):
    """`jury_identity` says what is proved."""
    prove(
        evidence,
        {"m1": "b*m + A@x", "x1": "x - eta*(m1 + w*x)"},
        ("1 - eta*w", "-eta*b", "-eta"),
        ("0", "b", "1"),
        ("1", f"({two} - eta*w)*(1 + b)"),
        excess={
            "factor": "1",
            "p(1)": "eta*la + eta*w*d",
            "1 - determinant": "d + b*eta*w",
            "1 + determinant": "d + b*e",
        },
        remainder={
            "p(1)": "-eta*w*given3",
            "1 - determinant": "-given3",
            "1 + determinant": "-given3 - b*given4",
        },
        **OVERSHOOTS,
    )


ema_decoupled = Claim(
    "decay/ema-decoupled",
    source=Source("eosbench-statements", "Weight decay, moving average, decoupled"),
    printed=(
        r"Momentum as a moving average with decay in the step, $m \leftarrow \beta m + (1 - \beta) g$ and $x "
        r"\leftarrow x - \eta(m + \omega x)$ with $0 \leq \beta < 1$ and $0 < \eta\omega < 2$, converges to 0 on "
        r"every quadratic about 0 with eigenvalues in $(0, \lambda_1]$ if $\eta\lambda_1 < (2 - \eta\omega)\frac{1 + "
        r"\beta}{1 - \beta}$, and diverges from almost every start if $\eta\lambda_1 > (2 - \eta\omega)\frac{1 + "
        r"\beta}{1 - \beta}$."
    ),
    expected="holds",
)


@ema_decoupled.check(
    beta=[0.5, 0.9],
    omega=OMEGAS,
    controls={"38/eta, as without decay": dict(beta=0.9, share=0), "of the sum": dict(make=decoupled)},
)
def test_decay_moves_the_line_of_a_moving_average(evidence, beta, omega, share=1, make=averaged):
    evidence.requires("0 <= beta < 1", 0 <= beta < 1)
    claimed = (2 - share * ETA * omega) * (1 + beta) / (1 - beta)
    compare(evidence, make, beta, omega, "(2 - eta omega)(1 + beta)/(1 - beta)", claimed)


@ema_decoupled.check(proves=True, controls={"2.04 in place of 2": dict(two="51/25")})
def test_a_decaying_moving_average_on_every_quadratic(evidence, two="2"):
    """`jury_identity` says what is proved."""
    prove(
        evidence,
        {"m1": "b*m + d*A@x", "x1": "x - eta*(m1 + w*x)"},
        ("1 - eta*w", "-eta*b", "-eta*d"),
        ("0", "b", "d"),
        ("d", f"({two} - eta*w)*(1 + b)"),
        excess={
            "factor": "d",
            "p(1)": "d*eta*la + eta*w*d",
            "1 - determinant": "d*(d + b*eta*w)",
            "1 + determinant": "d*(d + b*e)",
        },
        remainder={
            "p(1)": "-eta*w*given3",
            "1 - determinant": "-d*given3",
            "1 + determinant": "-d*given3 - d*b*given4",
        },
        **OVERSHOOTS,
    )
