"""A neuron with a bias, in the mean over a normal input: beyond a step size, and only there, the bias moves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, trajectory

ROOT = (2 * np.pi) ** 0.5


def active(b):
    """g(b), the mean of max(z - b, 0) over a standard normal z."""
    return norm.pdf(b) - b * norm.sf(b)


def log_cosh(z):
    return jnp.logaddexp(z, -z) - jnp.log(2.0)


def hyperbola(z):
    return jnp.sqrt(1 + z**2)


def square(z):
    return z**2 / 2


class Neuron(NamedTuple):
    """l(a g(b)), for an even l of curvature 1 at zero."""

    of: object
    curvature: float = 1.0

    def __call__(self, weights):
        a, b = weights
        return self.curvature * self.of(a * active(b))


def descended(neuron, eta, size, steps=5000):
    """The iterates (a, b) of gradient descent from (size, 0)."""
    return np.asarray(trajectory(gd_step(neuron, eta), np.array([size, 0.0]), steps))


def edge(eta):
    """The bias from which on minimizers (0, b) are stable: eta g(b)² = 2."""
    return brentq(lambda b: eta * float(active(b)) ** 2 - 2, 0, 3)


LOSSES = [log_cosh, hyperbola, square]

bias = Claim(
    "threshold-neuron/bias",
    source=Source("ahn-threshold", "Abstract"),
    printed=(
        r"discover a sharp phase transition for the step size below which the neural network fails to learn "
        r'"threshold-like" neurons (i.e., neurons with a non-zero first-layer bias). [Of $\ell(a\, g(b))$ with $g(b) '
        r"= \mathbb{E}\max(z - b, 0)$ for a standard normal $z$, and $\ell$ even with $\ell''(0) = 1$, from $a_0 \to "
        r"0$ and $b_0 = 0$: for $\eta < 4\pi$ the bias ends at $\frac{\sqrt{2\pi}}{4 - \eta/\pi} a_0^2$ to leading "
        r"order. For $\eta > 4\pi$, where $a$ tends to 0, it ends at $b_*$ or beyond from almost every $a_0$, with "
        r"$\eta g(b_*)^2 = 2$; it ends at $2b_*$ to leading order in $\eta - 4\pi$.]"
    ),
    expected="holds",
)


@bias.check(
    loss=LOSSES,
    share=[0.1, 0.5, 0.9, 0.98],
    controls={
        "4.08 π for 4 π": dict(loss=log_cosh, share=0.9, four=4.08),
        "2 % beyond it": dict(loss=log_cosh, share=1.02),
        "curvature 1.02 at zero": dict(loss=square, share=0.5, curvature=1.02),
    },
)
def test_small_steps_learn_no_bias(evidence, loss, share, four=4.0, curvature=1.0, size=1e-4):
    """The step size at which the bias would no longer be small, from where it ends."""
    eta = share * 4 * np.pi
    end = descended(Neuron(loss, curvature), eta, size)[-1, 1]
    critical = eta / np.pi + ROOT * size**2 / end
    evidence.constant("the critical step size over π, over 4", 1.0, critical / four, 1e-5)


@bias.check(
    loss=LOSSES,
    eta=[1.001, 1.01, 1.1, 1.5],
    size=[1e-2, 1e-6],
    controls={
        "below 4π": dict(loss=log_cosh, eta=0.99, size=1e-4, beyond=1.01),
        "to three times b*": dict(loss=log_cosh, eta=1.1, size=1e-4, times=3.0),
    },
)
def test_large_steps_do_whatever_the_start(evidence, loss, eta, size, beyond=None, times=1.0):
    """Step sizes in units of 4π."""
    path = descended(Neuron(loss), eta * 4 * np.pi, size, 30_000)
    evidence.at_most("|a| in the end, over that of the start", abs(path[-1, 0]) / size, 1e-3)
    least = edge((beyond or eta) * 4 * np.pi)
    evidence.at_least("bias in the end, over b*", path[-1, 1] / least, times)
    hessian = np.asarray(jax.hessian(Neuron(loss))(jnp.asarray([0.0, path[-1, 1]])))
    top = np.linalg.eigvalsh(hessian)[-1] * (beyond or eta) * 4 * np.pi
    evidence.at_most("eta times the sharpness there", top, 2.0)
    shown = slice(None, 400)
    axes = ("step", "bias over b*")
    evidence.series(f"{eta:g} · 4π, from {size:g}", np.arange(400), path[shown, 1] / least, axes=axes)


@bias.check(
    loss=LOSSES,
    controls={"2.04 for 2": dict(loss=log_cosh, two=2.04), "not extrapolated": dict(loss=log_cosh, weight=1.0)},
)
def test_it_ends_twice_as_far_as_it_has_to(evidence, loss, two=2.0, weight=2.0):
    """At 1 % and 0.5 % beyond 4π, and by both to the order of the square of that.

    Why: while d = eta g² - 2 is small, a step adds 2 d a² to a² and takes 4π a² off d, to leading order. So 4π a² + d²
    stays as it was, and where a has come back to 0, d is what it was with the other sign.
    """

    def ratio(excess):
        eta = (1 + excess) * 4 * np.pi
        return descended(Neuron(loss), eta, 1e-8, 20_000)[-1, 1] / edge(eta)

    found = weight * ratio(0.005) - (weight - 1) * ratio(0.01)
    evidence.constant("bias in the end over b*, as eta falls to 4π", two, found, 1e-3)
