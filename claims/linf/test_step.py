"""One step on a quadratic: exact for every one of them, and by running it."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity


@jax.jit
@jax.vmap
def change(hessian, x, eta):
    """Of x'Hx/2 in a step of steepest descent in the maximum norm."""

    def loss(x):
        return x @ hessian @ x / 2

    g = jax.grad(loss)(x)
    return loss(x - eta * jnp.abs(g).sum() * jnp.sign(g)) - loss(x)


def quadratics(seed, count, n):
    """Positive definite ones, their spectra spread over two decades."""
    random = np.random.default_rng(seed)
    bases = np.linalg.qr(random.normal(size=(count, n, n)))[0]
    spectra = 10 ** random.uniform(-2, 0, (count, n))
    return np.einsum("rij,rj,rkj->rik", bases, spectra, bases), random


step = Claim(
    "linf/step",
    source=Source("eosbench-statements", "Maximum norm, a step"),
    printed=(
        r"A step of steepest descent in the maximum norm, $x - \eta\|g\|_1 s$ with $s = \mathrm{sign}(g)$, changes a"
        r" quadratic by $-\eta\|g\|_1^2(1 - \frac{\eta}{2} s^\top H s)$: it lowers the loss if and only if $\eta\, "
        r"s^\top H s < 2$. The largest eigenvalue of $H$ does not decide it."
    ),
    expected="holds",
)


@step.check(proves=True, controls={"0.51 for 1/2": dict(half="51/100"), "|g|_1 in place of its square": dict(power=1)})
def test_the_change_for_every_quadratic(evidence, half="1/2", power=2):
    """With m = |g|_1, which is g's: the sign vector is one for which that holds, and H any symmetric matrix."""
    identity = Identity(
        (
            (
                "the change",
                "1/2*((x - eta*m*s).T@H@(x - eta*m*s)) - 1/2*(x.T@H@x)",
                "=",
                f"0 - eta*m**{power}*(1 - {half}*eta*(s.T@H@s))",
            ),
        ),
        "eta m",
        matrices={"H": ("n", "n", "symmetric"), "x": ("n", "1"), "s": ("n", "1")},
        given=(("(H@x).T@s", "m"),),
        remainder={"the change": "0 - eta*m*given1"},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


@step.check(
    n=[2, 6, 20],
    controls={
        "λ_1 in place of s'Hs": dict(n=6, means="largest"),
        "n λ_1 in place of it": dict(n=6, means="bound"),
        "2.04 for 2": dict(n=6, two=2.04),
    },
)
def test_it_lowers_the_loss_below_that_threshold(evidence, n, means="signs", two=2.0):
    """At step sizes from half to twice the threshold of each start, and 1 % about it; a tie has no share in it."""
    hessians, random = quadratics(evidence.seed(), 5000, n)
    x = random.normal(size=(5000, n))
    signs = np.sign(np.einsum("rij,rj->ri", hessians, x))
    exact = np.einsum("ri,rij,rj->r", signs, hessians, signs)
    times = np.concatenate([2 ** random.uniform(-1, 1, 2500), 1 + random.uniform(-0.01, 0.01, 2500)])
    eta = 2 * times / exact
    largest = np.linalg.eigvalsh(hessians)[:, -1]
    curvature = {"signs": exact, "largest": largest, "bound": n * largest}[means]
    lowered = np.asarray(change(jnp.asarray(hessians), jnp.asarray(x), jnp.asarray(eta))) < 0
    evidence.equal("the loss falls", lowered, eta * curvature < two)
    if n == 6:
        axes = ("η λ_1", "η s'Hs")
        kept = slice(0, 300)
        for name, which in (("the loss falls", lowered), ("it rises", ~lowered)):
            chosen = np.flatnonzero(which)[kept]
            evidence.series(name, (eta * largest)[chosen], (eta * exact)[chosen], axes=axes, style="points")


sharpness = Claim(
    "linf/sharpness",
    source=Source("eosbench-statements", "Maximum norm, sharpness"),
    printed=(
        r"On a positive definite quadratic it lowers the loss from every start that is not the minimum if and only if "
        r"$\eta \max_s s^\top H s < 2$, the maximum being over all vectors of signs. This sharpness is at least "
        r"$\lambda_1$ and at least $\mathrm{tr} H$, and at most $n\lambda_1$."
    ),
    expected="holds",
    uses=("linf/step",),
)


@sharpness.check(
    n=[2, 4, 8],
    controls={
        "λ_1 in place of the maximum": dict(n=4, means="largest"),
        "the trace in place of it": dict(n=4, means="trace"),
        "2 % larger": dict(n=4, size=1.02),
    },
)
def test_the_worst_start_is_that_of_the_worst_signs(evidence, n, means="signs", size=1.0):
    """The start H⁻¹s has the gradient s; at 0.1 % below the threshold and above it. Other starts at 0.1 % below it."""
    hessians, random = quadratics(evidence.seed(), 300, n)
    signs = np.array(list(product([-1.0, 1.0], repeat=n)))
    of_signs = np.einsum("si,rij,sj->rs", signs, hessians, signs)
    largest, trace = np.linalg.eigvalsh(hessians)[:, -1], np.trace(hessians, axis1=1, axis2=2)
    curvature = size * {"signs": of_signs.max(1), "largest": largest, "trace": trace}[means]
    worst = np.linalg.solve(hessians, signs[of_signs.argmax(1)][..., None])[..., 0]
    for times, falls in ((0.999, True), (1.001, False)):
        found = np.asarray(change(jnp.asarray(hessians), jnp.asarray(worst), jnp.asarray(2 * times / curvature))) < 0
        evidence.equal(f"the loss falls at {times:g} of the threshold", found, np.full(300, falls))
    anywhere = random.normal(size=(20, 300, n))
    for x in anywhere:
        found = np.asarray(change(jnp.asarray(hessians), jnp.asarray(x), jnp.asarray(2 * 0.999 / curvature))) < 0
        evidence.equal("the loss falls from elsewhere", found, np.full(300, True))
    evidence.at_least("over λ_1", of_signs.max(1) / largest, 1.0)
    evidence.at_least("over the trace", of_signs.max(1) / trace, 1.0)
    evidence.at_most("over n λ_1", of_signs.max(1) / (n * largest), 1.0)
