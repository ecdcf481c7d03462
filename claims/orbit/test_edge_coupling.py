"""Orbits of period two as critical points of one function of two points, on losses of one variable and of three."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step
from eosbench.problems import quartic
from eosbench.proof import Identity, prove_identity

SPECTRUM = np.array([1.0, 0.6, 0.35])
BASIS = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
AMPLITUDES = [0.08, 0.04, 0.02, 0.01]


def mixed(x, sign):
    """A loss of three variables whose eigenvectors are not the axes, with terms of third and fourth order."""
    z = BASIS.T @ x
    third = z[0] ** 2 * z[1] / 2 + z[1] ** 2 * z[2] / 3 + z[2] ** 2 * z[0] / 4 + jnp.sum(z**3) / 6
    return SPECTRUM @ z**2 / 2 + third / 2 + sign * jnp.sum(z) ** 4 / 24 + sign * jnp.sum(z**4) / 6


def log_cosh(x):
    return jnp.sum(jnp.log(jnp.cosh(x)))


def steep(x):
    """`x²/2 + x⁴/24`, whose curvature rises."""
    return jnp.sum(x**2 / 2 + x**4 / 24)


LOSSES = {  # and the minimizer, and how many eigenvectors there are
    "(x² - 1)²/4": (quartic, np.ones(1), 1),
    "log cosh": (log_cosh, np.zeros(1), 1),
    "x²/2 + x⁴/24": (steep, np.zeros(1), 1),
    "three variables, softer": (partial(mixed, sign=-1.0), np.zeros(3), 3),
    "three variables, stiffer": (partial(mixed, sign=4.0), np.zeros(3), 3),
}


@partial(jax.jit, static_argnames="loss")
def critical(loss, minimizer, direction, across, curvature, amplitude, weight):
    """Middle, half-difference and step size at which both gradients of the coupling vanish, by Newton's method.

    The part of the half-difference along the direction is given. `weight` is the 1/2 in the coupling L(x) + L(y) - |x -
    y|²/(2 eta).
    """
    p = minimizer.size

    def coupling(pair, eta):
        x, y = pair
        return loss(x) + loss(y) - weight * jnp.sum((x - y) ** 2) / eta

    def points(unknown):
        half = amplitude * direction + unknown[p : 2 * p - 1] @ across
        return minimizer + unknown[:p] + half, minimizer + unknown[:p] - half

    def gradients(unknown):
        return jnp.concatenate(jax.grad(coupling)(points(unknown), unknown[-1]))

    def newton(_, unknown):
        return unknown - jnp.linalg.solve(jax.jacobian(gradients)(unknown), gradients(unknown))

    first = jnp.zeros(2 * p).at[-1].set(4 * weight / curvature)
    found = jax.lax.fori_loop(0, 20, newton, first)
    return *points(found), found[-1], gradients(found)


def law(loss, minimizer, direction, hessian, three=3.0):
    """c in eta - 2/λ = c a² + O(a⁴), for the half-amplitude a along an eigenvector of the Hessian with eigenvalue λ.

    It is (3 t'H^-1 t - f'''')/(3 λ²) with t the gradient of the curvature along the eigenvector, and f'''' the fourth
    derivative along it: the middle moves by -a²/2 H^-1 t.
    """

    def curvature(x):
        return direction @ jax.hessian(loss)(x) @ direction

    t = jax.grad(curvature)(minimizer)
    fourth = direction @ jax.hessian(curvature)(minimizer) @ direction
    return float((three * t @ jnp.linalg.solve(hessian, t) - fourth) / (3 * (direction @ hessian @ direction) ** 2))


critical_points = Claim(
    "orbit/critical-points",
    source=Source("litman-origin", "Abstract"),
    printed=(
        "Setting both gradients of the edge coupling to zero classifies fixed points and period-two orbits; near a "
        "fixed point, the problem reduces to a function of the half-amplitude alone, which determines which directions "
        "support period-two orbits and on which side of the critical learning rate they appear. [The coupling is $L(x) "
        r"+ L(y) - \frac{1}{2\eta}|x - y|^2$; the directions are the eigenvectors of the Hessian with eigenvalue "
        r"$\lambda > 0$, the critical learning rate is $2/\lambda$, and the step size of an orbit is "
        r"$\frac{2}{\lambda} + \frac{3 t^\top H^{-1} t - f''''}{3\lambda^2} a^2 + O(a^4)$, with $f''''$ along the "
        "eigenvector and $t$ the gradient of the curvature along it.]"
    ),
    expected="holds",
)


@critical_points.check(controls={"2 % more in 1/(2 eta)": dict(half="51/100"), "1/eta": dict(half="1")})
def test_critical_points_are_orbits(evidence, half="1/2"):
    """For every loss that has gradients, g at x and h at y: where both vanish each point is a step from the other.

    Where x = y they vanish if and only if g does, which is a fixed point. In the other direction the same two lines
    are read from the right.
    """
    step, back = "a step from x", "a step from y"
    identity = Identity(
        (
            ("the term of both points", "(x + b - y).T@(x + b - y)", "=", "(x - y).T@(x - y) + 2*(x - y).T@b + b.T@b"),
            (step, "x - eta*g", "=", "y"),
            (back, "y - eta*h", "=", "x"),
        ),
        "eta",
        dict.fromkeys("xyghb", ("p", "1")),
        given=(("eta*g", f"2*{half}*(x - y)"), ("eta*h", f"2*{half}*(y - x)")),
        remainder={step: "-given1", back: "-given2"},
    )
    evidence.proved("for every loss", prove_identity(identity), identity.theorem)


@critical_points.check(
    loss=list(LOSSES),
    controls={
        "1/eta in place of 1/(2 eta)": dict(weight=1.0),
        "2 t'H^-1 t for 3": dict(three=2.0),
        "2 % more in the 3": dict(three=3.06),
    },
)
def test_near_a_fixed_point(evidence, loss, weight=0.5, three=3.0):
    """From Newton's method on the gradients, replayed by two steps; the law from four amplitudes, extrapolated.

    What is left of (eta - 2/λ)/a² after a² is eliminated between the two smallest amplitudes is of order a⁴.
    """
    function, minimizer, count = LOSSES[loss]
    hessian = np.asarray(jax.hessian(function)(jnp.asarray(minimizer)))
    values, vectors = np.linalg.eigh(hessian)
    for k in range(count):
        direction, across = vectors[:, k], np.delete(vectors, k, 1).T
        claimed, ratios = law(function, minimizer, direction, hessian, three), []
        for amplitude in AMPLITUDES:
            x, y, eta, left = critical(function, minimizer, direction, across, values[k], amplitude, weight)
            step = gd_step(function, eta)
            evidence.close("both gradients", left, 0.0, 1e-13)
            evidence.close("the other point, by a step", step(x), y, 1e-13)
            evidence.close("the point, by two steps", step(step(x)), x, 1e-13)
            ratios.append(float(eta - 2 / values[k]) / amplitude**2)
        evidence.equal("the orbits are above 2/λ", np.array(ratios) > 0, np.full(len(ratios), claimed > 0))
        evidence.close("(eta - 2/λ)/a² as a -> 0", (4 * ratios[-1] - ratios[-2]) / 3, claimed, 1e-4 * abs(claimed))
        axes = ("half-amplitude", "(η - 2/λ)/a², over its limit")
        evidence.series(
            f"{loss}, λ = {values[k]:.3g}", AMPLITUDES, np.array(ratios) / claimed, axes=axes, scale="semilogx"
        )
