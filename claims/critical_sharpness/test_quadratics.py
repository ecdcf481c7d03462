"""The critical sharpness on quadratics: whose Hessian never changes, so that nothing ever sharpens."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, CriticalSharpness, Source, linearize
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import Quadratic
from eosbench.proof import Identity, prove_identity

SPECTRUM = np.geomspace(0.01, 1, 8)
BASIS = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
LOSS = Quadratic.with_spectrum(SPECTRUM, BASIS)
EXACT = CriticalSharpness(rtol=1e-10, max_evaluations=200)


@jax.jit
def crossing(loss, x, direction):
    """2 over the step size at which the loss along -direction is what it was, by bisection of losses alone."""

    def rises(eta):
        return loss(x - eta * direction) > loss(x)

    high = jax.lax.while_loop(lambda eta: ~rises(eta), lambda eta: 2 * eta, jnp.asarray(1e-3))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        return jnp.where(rises(middle), low, middle), jnp.where(rises(middle), middle, high)

    return 2 / jax.lax.fori_loop(0, 80, halve, (jnp.zeros(()), high))[1]


@jax.jit
def critical_along(loss, path):
    """What the probe measures at each point of a path."""

    def at(x):
        point = linearize(loss, x)
        return EXACT.measure(point, EXACT.init(point))[0].value

    return jax.lax.map(at, path)


curvature_of_the_update = Claim(
    "critical-sharpness/curvature-of-the-update",
    source=Source("eosbench-statements", "Critical sharpness, the update"),
    printed=(
        "On a quadratic the critical sharpness of a step along $-d$, 2 over the step size at which the loss is what it "
        r"was, is $\frac{d^\top H d}{g^\top d}$. For $d = g$ it is the Rayleigh quotient of the gradient and never "
        r"above $\lambda_1$; for $d = P^{-1} g$ it is never above $\lambda_1(P^{-1} H)$."
    ),
    expected="holds",
)


@curvature_of_the_update.check(
    direction=["the gradient", "preconditioned"],
    controls={
        "the Rayleigh quotient of the update": dict(direction="preconditioned", quotient=True),
        "the sharpness": dict(direction="the gradient", largest=True),
        "2 % more": dict(direction="preconditioned", more=1.02),
    },
)
def test_the_loss_is_what_it_was(evidence, direction, quotient=False, largest=False, more=1.0):
    random = np.random.default_rng(evidence.seed())
    hessian, starts = np.asarray(LOSS.hessian), random.normal(size=(200, 8))
    scales = (
        random.uniform(0.1, 3, size=(200, 8)) if direction == "preconditioned" else np.ones((200, 8))
    )  # of the diagonal P
    gradients = starts @ hessian
    updates = gradients / scales
    evidence.requires("g'd > 0", bool(((gradients * updates).sum(1) > 0).all()))
    found = np.asarray(jax.lax.map(lambda pair: crossing(LOSS, *pair), (jnp.asarray(starts), jnp.asarray(updates))))
    curvature = np.einsum("ri,ij,rj->r", updates, hessian, updates)
    claimed = curvature / ((updates**2).sum(1) if quotient else (gradients * updates).sum(1))
    roots = scales**-0.5
    top = np.linalg.eigvalsh(roots[:, :, None] * hessian * roots[:, None, :])[:, -1]
    evidence.close("critical sharpness over its formula", found / (top if largest else claimed), more, 1e-12)
    evidence.at_most("critical sharpness over the largest eigenvalue", found / top, 1.0)
    axes = ("largest eigenvalue", "critical sharpness")
    evidence.series(direction, top, found, axes=axes, style="points")


@curvature_of_the_update.check(proves=True, controls={"2 % more": dict(two="51/25")})
def test_where_a_parabola_is_what_it_was(evidence, two="2"):
    """With c = d'Hd/g'd the step 2/c leaves the loss as it was, and the parabola has no other such step but 0.

    With d = R'R g, where P is the inverse of R'R, and w = R g: g'd = w'w and d'Hd = w'(R H R')w. Of no vector has that
    matrix a larger Rayleigh quotient than its largest eigenvalue, which is that of P^-1 H.
    """
    along = "twice the change of the loss"
    identity = Identity(
        (
            (along, "(x - eta*d).T@H@(x - eta*d) - x.T@H@x", "=", f"eta*(eta*d.T@H@d - {two}*x.T@H@d)"),
            ("g'd for d = R'R g", "g.T@R.T@R@g", "=", "(R@g).T@(R@g)"),
            ("d'Hd for it", "(R.T@R@g).T@H@(R.T@R@g)", "=", "(R@g).T@(R@H@R.T)@(R@g)"),
        ),
        "eta",
        {"x": ("p", "1"), "d": ("p", "1"), "g": ("p", "1"), "R": ("p", "p"), "H": ("p", "p", "symmetric")},
    )
    evidence.proved("in every dimension", prove_identity(identity), identity.theorem)


def settled(eta, start, steps):
    """The critical sharpness of a run by its geometric series, at each of these steps."""
    decay = (1 - eta * SPECTRUM) ** (2 * np.asarray(steps)[:, None]) * (SPECTRUM * start) ** 2
    return (decay * SPECTRUM).sum(1) / decay.sum(1)


# Steps, and the critical sharpness then, as the statement has them
CLIMB = {0: 0.850, 100: 0.999, 1500: 0.01}

no_sharpening = Claim(
    "critical-sharpness/no-sharpening",
    source=Source("eosbench-statements", "Critical sharpness, no sharpening"),
    printed=(
        "A rise of the critical sharpness is no sharpening. Of gradient descent on a quadratic, from almost every "
        r"start, it tends to $\lambda_1$ if $\frac{2}{\lambda_1 + \lambda_n} < \eta < \frac{2}{\lambda_1}$ and to "
        r"$\lambda_n$ if $\eta < \frac{2}{\lambda_1 + \lambda_n}$. Just below that step size it climbs to $\lambda_1$ "
        "before it falls: with eight eigenvalues in geometric progression from 0.01 to 1, a start of equal parts and "
        r"$\eta = 1.97$ it is 0.850 at first, 0.999 after 100 steps and 0.0100 after 1500, while $\lambda_1 = 1$ "
        "throughout."
    ),
    expected="holds",
    uses=("critical-sharpness/curvature-of-the-update",),
)


@no_sharpening.check(
    share=[0.5, 0.995, 1.005, 1.009],  # of 2/(λ_1 + λ_n)
    controls={
        "the threshold 2 % larger": dict(share=1.005, more=1.02),
        "the threshold 2 % smaller": dict(share=0.995, more=0.98),
    },
)
def test_where_it_tends(evidence, share, more=1.0):
    threshold = 2 / (SPECTRUM[0] + SPECTRUM[-1])
    eta, steps = share * threshold, 3000
    evidence.requires("eta below 2/λ_1", eta * SPECTRUM[-1] < 2)
    start = np.random.default_rng(evidence.seed()).normal(size=8)
    path = trajectory(gd_step(LOSS, eta), BASIS @ start, steps, every=100)
    found = np.asarray(critical_along(LOSS, path))
    evidence.close("along the run", found, settled(eta, start, np.arange(0, steps + 1, 100)), 1e-8)
    end = SPECTRUM[-1] if eta > more * threshold else SPECTRUM[0]
    evidence.close("in the end", found[-1], end, 1e-6)
    axes = ("steps", "critical sharpness")
    evidence.series(f"eta (λ_1 + λ_n)/2 = {share:g}", np.arange(0, steps + 1, 100), found, axes=axes, scale="semilogy")


@no_sharpening.check(
    eta=[1.97],
    controls={"a step size at which it falls at once": dict(eta=1.5), "2 % more": dict(more=1.02)},
)
def test_it_climbs_and_falls_where_nothing_changes(evidence, eta, more=1.0):
    path = trajectory(gd_step(LOSS, eta), BASIS @ np.ones(8), 1500)
    found = np.asarray(critical_along(LOSS, path))
    for step, claimed in CLIMB.items():
        evidence.constant(
            f"critical sharpness after {step} steps, over {claimed}", 1.0, found[step] / (more * claimed), 1e-3
        )
    evidence.close("λ_1 in the end", np.linalg.eigvalsh(jax.hessian(LOSS)(path[-1]))[-1], 1.0, 1e-12)
    axes = ("steps", "critical sharpness")
    evidence.series(f"eta = {eta:g}", np.arange(1501), found, axes=axes, scale="semilogy")
    evidence.series("λ_1", [0, 1500], [1.0, 1.0], axes=axes, style="reference", scale="semilogy")
