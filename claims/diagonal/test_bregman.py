"""The limit of (stochastic) gradient descent on a diagonal linear network, as the solution of a convex problem."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

SAMPLES, DIMENSION, ALPHA = 5, 12, 0.1
STEPS = 40_000


class Limit(NamedTuple):
    """Where a run ends, and the sums along it.

    Attributes:
        plus, minus: u + v and u - v.
        contracted: the sum of ln|1 - e²|, with e the step size times the gradient in beta.
        shift: the sum of ln|(1 + e)/(1 - e)| - 2 e.
    """

    plus: jax.Array
    minus: jax.Array
    contracted: jax.Array
    shift: jax.Array


@partial(jax.jit, static_argnames="stochastic")
def limit(x, y, eta, key, stochastic):
    """Gradient descent on the mean of (x_i·beta - y_i)²/2, beta = u v, from u = alpha and v = 0; or on one sample."""

    def loss(weights, i):
        u, v = weights
        errors = (x @ (u * v) - y) ** 2 / 2
        return errors[i] if stochastic else errors.mean()

    def step(t, carry):
        (u, v), sums = carry
        i = jax.random.randint(jax.random.fold_in(key, t), (), 0, y.size)
        du, dv = jax.grad(loss)((u, v), i)
        # the gradient in beta, from the weights' own: du = g v and dv = g u
        e = eta * (du * v + dv * u) / (u**2 + v**2)
        contracted, shift = sums
        shift += jnp.log(jnp.abs((1 + e) / (1 - e))) - 2 * e
        return (u - eta * du, v - eta * dv), (contracted + jnp.log(jnp.abs(1 - e**2)), shift)

    first = jnp.full(DIMENSION, ALPHA), jnp.zeros(DIMENSION)
    (u, v), sums = jax.lax.fori_loop(0, STEPS, step, (first, (jnp.zeros(DIMENSION), jnp.zeros(DIMENSION))))
    return Limit(u + v, u - v, *sums)


def solution(x, y, scale, reference):
    """The beta with x beta = y that is nearest to the reference in the Bregman divergence, by Newton's method.

    The potential's gradient is asinh(2 beta/scale). Where beta is scale/2 sinh(x'z + asinh(2 reference/scale)), what is
    left is to solve x beta = y for z, the gradient of a convex function.
    """
    z, centre = np.zeros(len(y)), np.arcsinh(2 * reference / scale)

    def residual(z):
        return x @ (scale / 2 * np.sinh(x.T @ z + centre)) - y

    def objective(z):
        return (scale / 2 * np.cosh(x.T @ z + centre)).sum() - y @ z

    for _ in range(200):  # of damped steps, from far away at first
        move = -np.linalg.solve(x * (scale / 2 * np.cosh(x.T @ z + centre)) @ x.T, residual(z))
        share = 1.0
        while objective(z + share * move) > objective(z) + 1e-4 * share * residual(z) @ move and share > 1e-8:
            share /= 2
        z = z + share * move
    return scale / 2 * np.sinh(x.T @ z + centre)


RUNS = {  # step size, and whether on single samples
    "small steps": (0.05, False),
    "larger steps": (0.2, False),
    "large steps": (0.35, False),
    "SGD": (0.1, True),
}


class Found:
    """What a run says: where it ends, its scale alpha_inf² and its reference point, from the sums along it."""

    def __init__(self, seed, eta, stochastic):
        random = np.random.default_rng(seed)
        self.x = random.normal(size=(SAMPLES, DIMENSION))
        self.y = self.x @ np.where(np.arange(DIMENSION) < 2, [1.0, -0.7] * (DIMENSION // 2), 0.0)
        run = jax.tree.map(np.asarray, limit(self.x, self.y, eta, jax.random.key(seed), stochastic))
        self.beta = (run.plus**2 - run.minus**2) / 4
        self.product = np.abs(run.plus * run.minus)
        self.scale, self.shift = ALPHA**2 * np.exp(run.contracted), run.shift

    def reference(self, share=1.0):
        return -self.scale / 2 * np.sinh(share * self.shift)

    def off_the_rows(self, reference, scale):
        """The part of the difference of potential gradients, at the limit and at the reference, off the rows of X."""
        dual = np.arcsinh(2 * self.beta / scale) - np.arcsinh(2 * reference / scale)
        return np.linalg.qr(self.x.T, mode="complete")[0][:, SAMPLES:].T @ dual


bregman = Claim(
    "diagonal/bregman",
    source=Source("eosbench-statements", "Diagonal networks, Bregman"),
    printed=(
        r"Where gradient descent or SGD on $\frac{1}{2}|X\beta - y|^2$ with $\beta = u \odot v$, from $u = \alpha$ and "
        r"$v = 0$, comes to a solution, that is the point of $X\beta = y$ nearest to $\tilde\beta$ in the Bregman "
        r"divergence of the potential whose gradient is $\mathrm{asinh}(2\beta/\alpha_\infty^2)$, with "
        r"$\alpha_\infty^2 = \alpha^2\prod_t |1 - e_t^2|$ and $\tilde\beta = -\frac{1}{2}\alpha_\infty^2 "
        r"\sinh\sum_t\left(\ln\left|\frac{1 + e_t}{1 - e_t}\right| - 2 e_t\right)$, where $e_t$ is the step size times "
        r"the gradient in $\beta$: exactly, for every step size at which it comes there. The sum is of the order of "
        r"the step size squared, and with 0 in place of $\tilde\beta$ the same holds to that order only. (Any multiple "
        r"of $\sum_t e_t$ may be added to the sum: it moves $\tilde\beta$, and not the nearest point.)"
    ),
    expected="holds",
)


@bregman.check(
    run=list(RUNS),
    controls={
        "0 for the reference": dict(run="small steps", share=0.0),
        "2 % more of the shift": dict(run="larger steps", share=1.02),
        "the scale at the start": dict(run="larger steps", contracted=False),
    },
)
def test_the_limit_solves_a_convex_problem(evidence, run, share=1.0, contracted=True):
    """By the first-order condition, and by the point that a solver of the problem finds.

    Rounding grows along a run, and where |e| comes near 1: bounds are a thousand times what was seen on other data.
    """
    found = Found(evidence.seed(), *RUNS[run])
    scale = found.scale if contracted else np.full(DIMENSION, ALPHA**2)
    evidence.requires("it comes to a solution", bool(np.abs(found.x @ found.beta - found.y).max() < 1e-9))
    evidence.close("|u² - v²|, over alpha_inf²", found.product / scale, 1.0, 1e-7)
    reference = found.reference(share)
    evidence.close("the condition, off the rows of X", found.off_the_rows(reference, scale), 0.0, 1e-7)
    nearest = solution(found.x, found.y, scale, reference)
    evidence.close("distance to the solution of the problem", found.beta - nearest, 0.0, 1e-7)
    axes = ("coordinate", "β in the end")
    evidence.series(run, np.arange(DIMENSION), found.beta, axes=axes)
    evidence.series(f"{run}, solver", np.arange(DIMENSION), nearest, axes=axes, style="points")
    plain = solution(found.x, found.y, found.scale, np.zeros(DIMENSION))
    evidence.series(f"{run}, reference 0", np.arange(DIMENSION), plain, axes=axes, style="points")


@bregman.check(controls={"with the reference": dict(share=1.0)})
def test_with_the_reference_zero_only_as_the_step_tends_to_zero(evidence, share=0.0):
    """What is left of the condition is of the order of the step size squared, as the sum of e³ over a run is.

    The condition holds after every step, so that small steps need not have come to a solution.
    """
    etas, seed, left, shifts = [0.004, 0.008, 0.016], evidence.seed(), [], []
    for eta in etas:
        found = Found(seed, eta, False)
        left.append(np.abs(found.off_the_rows(found.reference(share), found.scale)).max())
        shifts.append(np.abs(found.shift).max())
    evidence.at_least("what is left, over eta²", np.array(left) / np.square(etas), 0.02)
    evidence.rate("what is left, as eta falls", etas, left, exponent=2, tolerance=0.1)
    evidence.rate("the sum in the reference, as eta falls", etas, shifts, exponent=2, tolerance=0.1)


@bregman.check(controls={"2 % more in a step": dict(more="51/50")})
def test_sums_and_differences_are_multiplied(evidence, more="1"):
    """By 1 - e and 1 + e, for each coordinate: so |u² - v²| by |1 - e²|, and (u + v)/(u - v) by (1 - e)/(1 + e).

    With s that quotient, 4 beta = (u² - v²)(s - 1/s), so that asinh(2 beta/|u² - v²|) = ln|s|, the sum of ln|(1 - e)/(1
    + e)|: that of -2 e, up to the shift. And e is a combination of the rows of X, as every gradient is.
    """
    quotient = "4 beta, times s"
    identity = Identity(
        (
            ("the sum", f"(u - {more}*e*v) + (v - e*u)", "=", "(1 - e)*(u + v)"),
            ("the difference", f"(u - {more}*e*v) - (v - e*u)", "=", "(1 + e)*(u - v)"),
            ("4 beta", "4*u*v", "=", "(u + v)**2 - (u - v)**2"),
            (quotient, "s*4*u*v", "=", "(u + v)*(u - v)*(s**2 - 1)"),
        ),
        "u v e s",
        given=(("u + v", "s*(u - v)"),),
        remainder={quotient: "given1*(s*(u + v) + (u - v))"},
    )
    evidence.proved("for every step", prove_identity(identity), identity.theorem)
