"""What of a run with one unstable mode is an average: the variance, and the mean of a logarithm of the sharpness."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import central_velocity, gd_step, trajectory
from eosbench.proof import Identity, prove_identity


class Affine(NamedTuple):
    """½ (1 + y) x² - a y."""

    a: jax.Array

    def __call__(self, w):
        x, y = w
        return (1 + y) * x**2 / 2 - self.a * y


class Curved(NamedTuple):
    """½ exp(y + z²) x² - a y + z²/2."""

    a: jax.Array

    def __call__(self, w):
        x, y, z = w
        return jnp.exp(y + z**2) * x**2 / 2 - self.a * y + z**2 / 2


class Stiffening(NamedTuple):
    """½ (1 + y) x² + x⁴/4 - a y, not of the form asked for."""

    a: jax.Array

    def __call__(self, w):
        x, y = w
        return (1 + y) * x**2 / 2 + x**4 / 4 - self.a * y


class Run(NamedTuple):
    """Of descent from the edge: iterates, shape (steps + 1, p), and eta times the curvature along x."""

    path: np.ndarray
    curvature: np.ndarray


def descend(loss, eta, start, steps):
    """From x = start and where the curvature along x is 2/eta."""
    y = np.log(2 / eta) if isinstance(loss, Curved) else 2 / eta - 1
    begin = np.array([start, y, 0.1] if isinstance(loss, Curved) else [start, y])
    path = trajectory(gd_step(loss, eta), begin, steps)
    return Run(np.asarray(path), eta * np.asarray(jax.vmap(lambda w: jax.hessian(loss)(w)[0, 0])(path)))


averages = Claim(
    "central-flow/averages",
    source=Source("eosbench-statements", "Central flow, averages"),
    printed=(
        r"Of $T$ steps of gradient descent on $\frac12 S(y) x^2 + V(y)$, whatever the size of the oscillation, "
        r"the mean of $\ln|\eta S - 1|$ is $\frac{1}{T}\ln|x_T/x_0|$. Where $|x|$ comes back and $S > 1/\eta$ "
        r"the mean of $S$ is therefore at least $\frac{2}{\eta}$, at which the central flow holds it, and above "
        r"it by half of $\eta$ times the variance of $S$, to leading order. With $S = 1 + y$ and $V = -ay$ the "
        r"mean of $x^2$ is $2a - \frac{2}{\eta T}(y_T - y_0)$, $2a$ being the flow's variance."
    ),
    expected="holds",
)


@averages.check(
    loss=[Affine, Curved],
    eta=[0.5, 0.25],
    size=[0.3, 0.9, 2.0],
    controls={
        "a quartic in x": dict(loss=Stiffening, eta=0.5, size=2.0),
        "the logarithm of eta S/2": dict(loss=Affine, eta=0.5, size=2.0, half=True),
        "x² with half the weight": dict(loss=Affine, eta=0.5, size=2.0, two=1.0),
    },
)
def test_the_means_over_a_run(evidence, loss, eta, size, half=False, two=2.0, a=1e-3, steps=1500):
    """From x = size times the flow's; the sharpness is a derivative of the loss, and knows nothing of its form."""
    run = descend(loss(jnp.asarray(a)), eta, size * np.sqrt(2 * a), steps)
    seen = run.curvature[:-1] / 2 if half else run.curvature[:-1] - 1
    gained = np.log(np.abs(run.path[-1, 0] / run.path[0, 0]))
    evidence.close("sum of ln|ηS - 1|", np.log(np.abs(seen)).sum(), gained, 1e-9)
    evidence.at_least("how far ηS strays from 2", np.abs(run.curvature - 2).max(), 1e-3)
    if loss is Affine:
        x, y = run.path.T
        predicted = two * a - 2 / (eta * steps) * (y[-1] - y[0])
        evidence.close("mean of x², over 2a", (x[:-1] ** 2).mean() / (2 * a), predicted / (2 * a), 1e-9)
        flow = central_velocity(loss(jnp.asarray(a)), np.array([0.0, 2 / eta - 1]), eta)
        evidence.close("the flow's variance, over 2a", flow.variance / (2 * a), 1.0, 1e-9)
    shown = run.curvature[:-1:3] / 2
    axes = ("step", "S in units of 2/η")
    evidence.series(f"{loss.__name__}, η = {eta:g}, {size:g} of x", np.arange(0, steps, 3), shown, axes=axes)


@averages.check(
    eta=[0.5, 0.25],
    size=[0.8, 0.9],
    controls={
        "2 % more than half the variance": dict(eta=0.25, size=0.9, half=0.51),
        "all of it": dict(eta=0.25, size=0.9, half=1.0),
    },
)
def test_the_mean_of_the_sharpness_is_above_the_edge(evidence, eta, size, half=0.5, a=1e-4):
    """From where |x| is least, up to the last step before it falls below that again; what is left is taken off."""
    run = descend(Affine(jnp.asarray(a)), eta, size * np.sqrt(2 * a), 4000)
    x = np.abs(run.path[:, 0])
    last = int(np.flatnonzero((x[:-1] >= x[0]) & (x[1:] < x[0]))[-1])
    seen = run.curvature[:last]
    evidence.requires("S > 1/eta", bool((seen > 1).all()))
    evidence.at_least("mean of S, in units of 2/η", seen.mean() / 2, 1.0)
    above = seen.mean() - 2 - np.log(x[last] / x[0]) / last
    evidence.constant(
        "η times what S is above, over η²/2 of its variance", 1.0, above / (half * 2 * seen.var() / 2), 5e-3
    )


@averages.check(proves=True, controls={"2 % more in ηS": dict(two="51/50"), "2 % more in a": dict(drift="51/50")})
def test_the_step_by_exact_identities(evidence, two="1", drift="1"):
    """x is multiplied by 1 - eta S in every step: logarithms add up. As ln is concave, the mean of eta S - 1 is at
    least its geometric mean; ln(1 + v) = v - v²/2 to leading order. The steps of y add up, too.
    """
    identity = Identity(
        (
            ("the gradient in x", "1/2*S*(x + u)**2", "=", "1/2*S*x**2 + S*x*u + 1/2*S*u**2"),
            ("x after a step", "x - eta*(S*x)", "=", f"0 - ({two}*eta*S - 1)*x"),
            ("the gradient in y", "1/2*(1 + y + u)*x**2 - a*(y + u)", "=", "1/2*(1 + y)*x**2 - a*y + (1/2*x**2 - a)*u"),
            ("x², from the step of y", "x**2*eta", "=", f"2*{drift}*a*eta - 2*(Y - y)"),
        ),
        "x y u S eta a Y",
        given=(("Y", "y - eta*(1/2*x**2 - a)"),),
        remainder={"x², from the step of y": "2*given1"},
    )
    evidence.proved("a step", prove_identity(identity), identity.theorem)
