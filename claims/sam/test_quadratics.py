"""Sharpness-aware minimization by optax: a step of gradient descent with the gradient from a point rho uphill."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eosbench import Claim, Source
from eosbench.dynamics import onset
from eosbench.proof import Identity, prove_identity

SPECTRUM = np.array([1.0, 0.7, 0.2])
BASIS = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]


def sam_step(hessian, eta, rho, normalized, x):
    """One step of `optax.contrib.sam` on x'Hx/2."""
    uphill = optax.sgd(rho)
    uphill = optax.chain(optax.contrib.normalize(), uphill) if normalized else uphill
    optimizer = optax.contrib.sam(optax.sgd(eta), uphill, opaque_mode=True)
    gradient = jax.grad(lambda x: x @ hessian @ x / 2)
    updates, _ = optimizer.update(gradient(x), optimizer.init(x), x, grad_fn=lambda x, _: gradient(x))
    return x + updates


@partial(jax.jit, static_argnames=("steps", "normalized"))
def ends(hessian, eta, rho, starts, steps, normalized=True):
    """The last two iterates from each start."""
    step = partial(sam_step, hessian, eta, rho, normalized)

    def run(x):
        x = jax.lax.fori_loop(0, steps - 1, lambda _, x: step(x), x)
        return x, step(x)

    return jax.vmap(run)(starts)


@jax.jit
def lengthens(sharpness, eta, rho, size):
    """Log of |x'|/|x| for the step from gradients of that size along an eigenvector, at each sharpness."""

    def ratio(value):
        x = size / value * BASIS[:, 1]
        hessian = BASIS @ jnp.diag(jnp.array([0.1, 1.0, 0.3])) @ BASIS.T * value
        return jnp.log(jnp.linalg.norm(sam_step(hessian, eta, rho, True, x)) / jnp.linalg.norm(x))

    return jax.vmap(ratio)(sharpness)


def sam_edge(eta, rho, size, eight=8.0):
    """The sharpness at which a step from gradients of that size keeps the distance from the minimum."""
    return size / (2 * rho) * (np.sqrt(1 + eight * rho / (eta * size)) - 1)


edge = Claim(
    "sam/edge",
    source=Source("long-sam-edge", "Abstract"),
    printed=(
        "Unlike the case for GD, the resulting SAM-edge depends on the norm of the gradient. [For a step from where "
        r"the gradient $g$ is along an eigenvector of the Hessian with eigenvalue $\lambda$, on a quadratic: the "
        r"distance from the minimum grows if and only if $\lambda > \frac{|g|}{2\rho}\left(\sqrt{1 + "
        r"\frac{8\rho}{\eta|g|}} - 1\right)$. That is below $2/\eta$, and tends to it as $\rho/|g| \to 0$.]"
    ),
    expected="holds",
)


@edge.check(
    size=[0.01, 1.0, 100.0],
    eta=[0.01, 0.1, 1.0],
    controls={
        "2/eta": dict(size=1.0, eta=0.1, descent=True),
        "2 % more in the 8": dict(size=1.0, eta=0.1, eight=8.16),
    },
)
def test_where_a_step_does_not_shrink(evidence, size, eta, rho=0.05, eight=8.0, descent=False):
    claimed = 2 / eta if descent else sam_edge(eta, rho, size, eight)
    found = onset(lambda values: lengthens(jnp.asarray(values), eta, rho, size), 1e-3 / eta, 2.5 / eta)
    evidence.close("the sharpness from which it grows, over the edge", found.value / claimed, 1.0, 1e-8)
    evidence.at_most("eta/2 times it", eta / 2 * found.value, 1.0)
    axes = ("ρ/(η |g|)", "η/2 times the sharpness at which steps grow")
    evidence.series(
        "measured", [rho / (eta * size)], [eta / 2 * found.value], axes=axes, style="points", scale="semilogx"
    )
    shares = np.geomspace(1e-3, 1e3, 200)
    if (size, eta) == (0.01, 0.01):
        evidence.series("formula", shares, sam_edge(1.0, shares, 1.0) / 2, axes=axes, scale="semilogx")


@edge.check(
    ratio=[1e-3, 1e-5],
    controls={"2 % below 2/eta": dict(two=1.96)},
)
def test_it_tends_to_that_of_gradient_descent(evidence, ratio, two=2.0):
    """As eta |g| = 1 it is 2/eta (1 - 2 rho/(eta |g|) + ...): below by 2 ratio, up to ratio²."""
    found = onset(lambda values: lengthens(jnp.asarray(values), 1.0, ratio, 1.0), 1e-3, 2.5)
    evidence.close("eta times the edge", found.value, two * (1 - 2 * ratio), 20 * ratio**2 + 1e-9)


@edge.check(proves=True, controls={"2 % more in the 8": dict(eight="204/25")})
def test_the_multiplier_there_is_minus_one(evidence, eight="8"):
    """The gradient at x + rho g/|g| is (λ + rho λ²/|g|) x, so that x is multiplied by 1 - eta λ (1 + rho λ/|g|).

    That is below 1, falls as λ grows, and is -1 where eta λ (|g| + rho λ) = 2 |g|. With the root y, y² = 1 + 8 rho/(eta
    |g|), that is where 2 rho λ = |g| (y - 1). There eta λ = 2 - eta λ² r is below 2, with r = rho/|g|; it tends to 2 as
    r does to 0, for λ is below 2/eta.
    """
    name = "the edge, times 4 rho"
    identity = Identity(
        (
            ("a step", "x - eta*l*(x + r*l*x)", "=", "x*(1 - eta*l*(1 + r*l))"),
            (name, "2*eta*(2*rho*l)*(G + rho*l)", "=", "8*rho*G"),
        ),
        "x l eta rho r G y",
        given=(("2*rho*l", "G*(y - 1)"), ("eta*G*y**2", f"eta*G + {eight}*rho")),
        remainder={name: "eta*given1*(2*G + 2*rho*l + G*(y - 1)) + G*given2"},
    )
    evidence.proved("for every step size and radius", prove_identity(identity), identity.theorem)


two_cycle = Claim(
    "sam/two-cycle",
    source=Source("bartlett-sam", "Abstract"),
    printed=(
        "We show that when SAM is applied with a convex quadratic objective, for most random initializations it "
        "converges to a cycle that oscillates between either side of the minimum in the direction with the largest "
        r"curvature. [For $0 < \eta\lambda_1 < 2$, with $\lambda_1$ simple: between $\pm\frac{\eta\lambda_1\rho}{2 - "
        r"\eta\lambda_1} v_1$. There are such cycles along the other eigenvectors too; in two steps that along $v_i$ "
        r"multiplies a distance along $v_j$ by the square of $1 - \eta\lambda_j - (2 - "
        r"\eta\lambda_i)\lambda_j^2/\lambda_i^2$, which is below 1 in magnitude if and only if $\lambda_j < "
        r"\lambda_i$.]"
    ),
    expected="holds",
)


@two_cycle.check(
    eta=[0.3, 1.0, 1.8],  # λ_1 = 1
    controls={
        "uphill by the gradient itself": dict(eta=0.3, normalized=False),
        "2 % more": dict(more=1.02),
        "beyond 2/λ_1": dict(eta=2.05, steps=40),
        "along the second eigenvector": dict(axis=1),
    },
)
def test_runs_end_on_the_cycle(evidence, eta, rho=0.1, normalized=True, more=1.0, steps=2000, axis=0):
    evidence.requires("0 < eta λ_1 < 2", 0 < eta < 2)
    hessian = jnp.asarray(BASIS @ np.diag(SPECTRUM) @ BASIS.T)
    starts = np.random.default_rng(evidence.seed()).normal(size=(100, 3))
    before, after = map(np.asarray, ends(hessian, eta, rho, jnp.asarray(starts), steps, normalized))
    size = more * eta * rho / abs(2 - eta)
    evidence.close("distance along v, over its formula", np.abs(after @ BASIS[:, axis]) / size, 1.0, 1e-10)
    evidence.close("distance from the line, over it", after @ np.delete(BASIS, axis, 1) / size, 0.0, 1e-10)
    evidence.close("two iterates, added", (before + after) / size, 0.0, 1e-10)
    axes = ("along v_1", "along v_2")
    both = np.concatenate([before, after]) @ BASIS
    evidence.series(f"eta λ_1 = {eta:g}", both[:, 0], both[:, 1], axes=axes, style="points")


@two_cycle.check(
    eta=[0.3, 1.0, 1.8],
    controls={"without the square of λ_j/λ_i": dict(power=1), "2 % more": dict(more=1.02)},
)
def test_which_cycles_attract(evidence, eta, rho=0.1, power=2, more=1.0):
    """The derivative of two steps on the cycle along each eigenvector, beside the formula; along itself 1 - eta λ_i."""
    hessian = jnp.asarray(BASIS @ np.diag(SPECTRUM) @ BASIS.T)
    step = partial(sam_step, hessian, eta, rho, True)
    for i, value in enumerate(SPECTRUM):
        size = eta * value * rho / (2 - eta * value)
        jacobian = np.asarray(jax.jit(jax.jacobian(lambda x: step(step(x))))(size * BASIS[:, i]))
        found = np.diag(BASIS.T @ jacobian @ BASIS)
        factors = 1 - eta * SPECTRUM - (2 - eta * value) * more * (SPECTRUM / value) ** power
        factors[i] = 1 - eta * value
        evidence.close(
            f"factors of two steps, on the cycle along v_{i + 1}", found, factors**2, 1e-12 * (1 + (factors**2).max())
        )
        evidence.equal("the distance shrinks", np.delete(found, i) < 1, np.delete(SPECTRUM, i) < value)


@two_cycle.check(controls={"2 % more in the 2": dict(two="51/25")})
def test_a_cycle_attracts_along_smaller_curvatures(evidence, two="2"):
    """With e = eta λ_i, c = 2 - e > 0 and t = λ_j/λ_i, the factor m is above -1 if and only if t < 1, and below 1.

    The gradient a distance a along v_i has the size λ_i a, so that a small distance d along v_j is changed uphill by
    r t d, where r = rho/a = c/e.
    """
    m = "1 - e*t - c*t**2"
    identity = Identity(
        (
            ("half-way round", "(1 - e)*a - e*rho", "=", "-a"),
            ("the factor along v_j", "d - e*t*(d + r*t*d)", "=", f"d*({m})"),
            ("the factor, plus 1", f"({m}) + 1", "=", "(1 - t)*(2 + c*t)"),
            ("the factor, below 1", f"1 - ({m})", ">=", "0"),
        ),
        "a d r e c t rho",
        positive="e c t rho",
        given=(("e + c", two), ("c*a", "e*rho"), ("e*r", "c")),
        remainder={
            "half-way round": "-a*given1 + given2",
            "the factor along v_j": "-t**2*d*given3",
            "the factor, plus 1": "-t*given1",
        },
        excess={"the factor, below 1": "e*t + c*t**2"},
    )
    evidence.proved("for every pair of eigenvalues", prove_identity(identity), identity.theorem)
