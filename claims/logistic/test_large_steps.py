"""Large steps on separable data: the perceptron at first, and then a loss of 1/(margin² · step size · steps)."""

from fractions import Fraction
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity


@partial(jax.jit, static_argnames="steps")
def descend(points, eta, steps):
    """From 0: the iterates after 1, 2 ... steps, and the losses there. The labels are multiplied into the points."""

    def step(w, _):
        w = w + eta * jax.nn.sigmoid(-points @ w) @ points / len(points)
        return w, (w, jnp.mean(jnp.logaddexp(0, -points @ w)))

    return jax.lax.scan(step, jnp.zeros(points.shape[1]), length=steps)[1]


def margin(points):
    """The distance of 0 from the convex hull, by SciPy."""
    weights, _ = nnls(np.vstack([points.T, np.ones(len(points))]), np.append(np.zeros(points.shape[1]), 1.0))
    return float(np.linalg.norm(weights @ points) / weights.sum())


class Perceptron(NamedTuple):
    """Of a run until no point is on the wrong side: iterates, the least |v·x| on the way, and the number of steps."""

    path: np.ndarray
    least: float
    steps: int


def perceptron(points, first=Fraction(1, 2), at_most=3000):
    """In rational arithmetic: half of every point in the first step, then the misclassified ones as a whole."""
    exact = [[Fraction(float(entry)) for entry in point] for point in points]
    n = len(exact)
    v = [first * sum(column) / n for column in zip(*exact, strict=True)]
    path, least = [], None
    while len(path) < at_most:
        path.append([float(entry) for entry in v])
        sides = [sum(a * b for a, b in zip(point, v, strict=True)) for point in exact]
        nearest = min(map(abs, sides))
        least = nearest if least is None else min(least, nearest)
        wrong = [point for point, side in zip(exact, sides, strict=True) if side < 0]
        if not wrong:
            break
        v = [entry + sum(point[k] for point in wrong) / n for k, entry in enumerate(v)]
    return Perceptron(np.array(path), float(least), len(path))


def data_set(name, random):
    """Points of length at most 1, with few binary digits, that are separable."""
    if name == "two points":
        points = np.array([[0.1, 1.0], [0.1, -0.6]])
    elif name == "three points":
        points = np.array([[0.1, 1.0, 0.0], [0.1, -0.5, 0.6], [0.1, -0.3, -0.4]])
    else:
        points, direction = random.normal(size=(30, 5)), random.normal(size=5)
        direction /= np.linalg.norm(direction)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        side = points @ direction
        points *= np.sign(side)[:, None]
        points += np.maximum(0.05 - np.abs(side), 0)[:, None] * direction
    return np.round(points / np.linalg.norm(points, axis=1).max() * 2**20 - 0.5 * np.sign(points)) / 2**20


DATA = ["two points", "three points", "thirty points"]

batch_perceptron = Claim(
    "logistic/batch-perceptron",
    source=Source("tyurin-perceptron", "Abstract"),
    printed=(
        r"LR+GD reduces to a batch version of the celebrated perceptron algorithm when the step size $\gamma \to "
        r"\infty$. [From 0, in the first step with half of every sample. Where no iterate $v_s$ of the perceptron has "
        r"a sample on its boundary, those of LR+GD over $\gamma$ are $v_t + \frac{1}{n}\sum_{s<t}\sum_i \pm "
        r"e^{-\gamma|v_s \cdot x_i|} x_i$, with $-$ where $x_i$ is on the wrong side, up to a share of the sum that is "
        r"exponentially small, too.]"
    ),
    expected="holds",
)


@batch_perceptron.check(
    data=DATA,
    times=[20, 22, 24],
    controls={
        "the first step with the whole of every sample": dict(data="two points", times=20, first=1),
        "a step size of 1/δ": dict(data="two points", times=1),
        "2 % more in the exponent": dict(data="two points", times=20, power=1.02),
        "+ on either side": dict(data="three points", times=20, sign=1),
    },
)
def test_the_iterates_over_the_step_size(evidence, data, times, first=Fraction(1, 2), power=1.0, sign=-1):
    """So many times 1/δ, δ being the least |v·x|; four steps more than the perceptron's, which rests in them."""
    points = data_set(data, np.random.default_rng(evidence.seed()))
    run = perceptron(points, Fraction(first))
    evidence.requires("no sample on the boundary", run.least > 0)
    evidence.requires("eta of 20/δ or more", times >= 20)
    path = np.concatenate([run.path, np.repeat(run.path[-1:], 4, axis=0)])
    eta = times / run.least
    found, _ = descend(points, eta, len(path))
    sides = path[:-1] @ points.T
    added = np.where(sides < 0, sign, 1) * np.exp(-power * eta * np.abs(sides)) @ points / len(points)
    predicted = np.cumsum(added, axis=0)
    off = np.asarray(found)[1:] / eta - path[1:]
    evidence.close("what is off the perceptron, over e^(-γδ)", off * np.exp(times), predicted * np.exp(times), 1e-3)
    evidence.at_most("distance of the iterates", np.linalg.norm(off, axis=1), 1e-6)
    evidence.series(
        f"{data}, {times}/δ",
        np.arange(2, len(path) + 1),
        np.linalg.norm(off, axis=1) + 1e-17,
        axes=("step", "distance"),
        scale="semilogy",
    )


exit_time = Claim(
    "logistic/exit-time",
    source=Source("wu-large-stepsize", "Abstract"),
    printed=(
        r"GD exits this initial oscillatory phase rapidly — in $O(\eta)$ steps [On a data set of $n$ samples of norm "
        r"at most 1 and margin $\gamma$, where no iterate of the batch perceptron has a sample on its boundary, from "
        r"some step size on the loss no longer rises once the perceptron has stopped: after at most $1 + n(\gamma^{-2} "
        r"- \frac{1}{2})$ steps, whatever the step size.]"
    ),
    expected="holds",
    uses=("logistic/batch-perceptron",),
)


@exit_time.check(
    data=DATA,
    times=[15.0, 150.0, 1500.0],
    controls={
        "a step size that is not yet so large": dict(data="two points", eta=100.0),
        "samples on both sides": dict(data="two points", times=15.0, separable=False),
    },
)
def test_the_loss_falls_once_the_perceptron_has_stopped(evidence, data, times=15.0, eta=None, separable=True):
    """Step sizes of 15, 150 and 1500 over the least distance from a boundary; 300 steps more than the perceptron's."""
    points = data_set(data, np.random.default_rng(evidence.seed()))
    bound = 1 + len(points) * (margin(points) ** -2 - 0.5)
    if not separable:
        points = np.vstack([points, -points.mean(0)])
    run = perceptron(points)
    eta = eta or times / run.least
    _, losses = map(np.asarray, descend(points, eta, run.steps + 300))
    rises = np.flatnonzero(np.diff(losses, prepend=np.log(2)) > 0) + 1
    evidence.at_most("steps of the perceptron", run.steps, bound)
    evidence.at_most("the last step in which the loss rises", int(rises.max(initial=0)), run.steps)
    axes = ("step", "loss")
    evidence.series(f"{data}, η = {eta:.3g}", np.arange(1, 21), losses[:20] + 1e-20, axes=axes, scale="semilogy")


@exit_time.check(controls={"γ 2 % larger": dict(share="51/50"), "|v|² grows 2 % less": dict(growth="49/50")})
def test_how_long_a_perceptron_runs(evidence, share="1", growth="1"):
    """Novikoff's argument, for batches. m is the share of samples on the wrong side, s its sum so far, g their sum/n.

    For a unit vector u with u·x >= γ for all samples, v·u >= γ (1/2 + s) and |v|² <= 1/4 + s hold after the first step,
    with s = 0, and by these after every one. So γ² (1/2 + s)² <= 1/4 + s < 1/2 + s, by Cauchy and Schwarz; and m is at
    least 1/n while the perceptron runs. p, q, h, r and z are by how much what is known is more than is asked for.
    """
    along, length = "v·u after a step", "1/4 + s, less |v|², after a step"
    identity = Identity(
        (
            (along, "u.T@(v + g)", ">=", f"{share}*gamma*(1/2 + s + m)"),
            (length, f"1/4 + s + {growth}*m", ">=", "(v + g).T@(v + g)"),
        ),
        "gamma s m k p q h r z",
        dict.fromkeys("uvg", ("p", "1")),
        given=(
            ("u.T@v", "gamma*(1/2 + s) + p"),
            ("u.T@g", "gamma*m + q"),
            ("v.T@g", "0 - h"),
            ("g.T@g", "m**2 - r"),
            ("v.T@v", "1/4 + s - z"),
            ("m + k", "1"),
        ),
        nonnegative="m k p q h r z",
        remainder={along: "given1 + given2", length: "0 - given5 - 2*given3 - given4 - m*given6"},
        excess={along: "p + q", length: "z + 2*h + r + m*k"},
    )
    evidence.proved("one more step", prove_identity(identity), identity.theorem)


stable_rate = Claim(
    "logistic/stable-rate",
    source=Source("wu-large-stepsize", "Abstract"),
    printed=(
        r"and subsequently achieves an $\tilde{O}(1/(\eta t))$ convergence rate after $t$ additional steps. [With the "
        r"margin $\gamma$, the loss times $\eta t$ tends to $\gamma^{-2}$.]"
    ),
    expected="holds",
)


@stable_rate.check(
    data=["two points", "three points"],
    eta=[10.0, 30.0, 100.0],
    controls={
        "a margin 2 % larger": dict(data="two points", eta=10.0, share=1.02),
        "samples on both sides": dict(data="two points", eta=10.0, separable=False),
        "1/t in place of 1/(ηt)": dict(data="two points", eta=10.0, per_step=True),
    },
)
def test_the_loss_times_step_size_and_steps(evidence, data, eta, share=1.0, separable=True, per_step=False):
    """All samples are on the margin here, so that what is left after 200 000 steps is of the order of ln(t)/t."""
    points = data_set(data, np.random.default_rng(evidence.seed()))
    claimed = (share * margin(points)) ** -2
    if not separable:
        points = np.vstack([points, -points.mean(0)])
    _, losses = map(np.asarray, descend(points, eta, 200_000))
    steps = np.arange(1, len(losses) + 1)
    scaled = losses * steps * (1.0 if per_step else eta) / claimed
    evidence.constant("loss times ηt, over γ⁻²", 1.0, scaled[-1], 5e-3)
    shown = np.unique(np.geomspace(1, len(steps), 200).astype(int)) - 1
    axes = ("step", "loss · ηtγ²")
    evidence.series(f"{data}, η = {eta:g}", steps[shown], scaled[shown], axes=axes, scale="semilogx")


accelerated = Claim(
    "logistic/accelerated",
    source=Source("wu-large-stepsize", "Abstract"),
    printed=(
        r"given a budget of $T$ steps, GD can achieve an accelerated loss of $\tilde{O}(1/T^2)$ with an aggressive "
        r"stepsize $\eta := \Theta(T)$, without any use of momentum or variable stepsize schedulers. [With $\eta = "
        r"cT$ at most $2/(c\gamma^2 T^2)$, on the data sets here.]"
    ),
    expected="holds",
    coarse="An order up to logarithms is stated: of the constant a factor of 2 is told, of the exponent 0.1.",
    uses=("logistic/stable-rate",),
)


@accelerated.check(
    data=DATA,
    c=[0.01, 0.1, 1.0],
    controls={
        "η = 1": dict(data="two points", c=1.0, power=0.0),
        "η of the root of T": dict(data="two points", c=1.0, power=0.5),
        "samples on both sides": dict(data="two points", c=1.0, separable=False),
    },
)
def test_budgets_up_to_16384(evidence, data, c, power=1.0, separable=True):
    points = data_set(data, np.random.default_rng(evidence.seed()))
    claimed = 1 / (c * margin(points) ** 2)
    if not separable:
        points = np.vstack([points, -points.mean(0)])
    budgets = 2 ** np.arange(6, 15)
    losses = np.array([np.asarray(descend(points, c * float(T) ** power, int(T))[1])[-1] for T in budgets])
    evidence.at_most("loss times T², over 1/(cγ²)", losses * budgets**2 / claimed, 2.0)
    axes = ("T", "loss")
    evidence.series(f"{data}, η = {c:g} T", budgets, losses + 1e-20, axes=axes, scale="loglog")
