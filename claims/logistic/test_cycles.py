"""Cycles that attract while the minimum is stable: proved on given data, in one dimension and two; and none below."""

from fractions import Fraction
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import root

from eosbench import Claim, Source
from eosbench.proof import LogisticRegression, prove_logistic_cycle

SOURCE = Source("meng-logistic", "Abstract")


def slope(w, points, shares):
    """The gradient of the sum of a_i ln(1 + exp(-x_i·w))."""
    return -(shares * jax.nn.sigmoid(-(points @ w))) @ points


@partial(jax.jit, static_argnames="records")
def descend(w, points, shares, eta, steps, records=1):
    """The iterate after so many steps, and those after it, `records` of them."""

    def step(w):
        return w - eta * slope(w, points, shares)

    w = jax.lax.fori_loop(0, steps, lambda _, w: step(w), w)
    return jax.lax.scan(lambda w, _: (step(w), w), w, length=records)[1]


def minimum(points, shares, near):
    """Where the gradient vanishes, by SciPy."""
    hessian = jax.jacfwd(lambda w: slope(w, points, shares))
    found = root(lambda w: np.asarray(slope(w, points, shares)), near, jac=lambda w: np.asarray(hessian(w)), tol=1e-14)
    return found.x, float(np.linalg.eigvalsh(hessian(found.x))[-1])


class Example(NamedTuple):
    """Samples with their labels multiplied in, as texts, and what they count; near the minimum; near the cycle."""

    points: tuple
    weights: tuple
    near: tuple
    start: tuple

    @property
    def data_set(self):
        points = tuple(tuple(map(Fraction, point)) for point in self.points)
        return LogisticRegression(points, tuple(map(Fraction, self.weights)))


def outlier(size, further):
    """2 size + further samples at 1, and one at -size."""
    return Example((("1",), (str(-size),)), (str(2 * size + further), "1"), (2 * further / size,), (-20 / size,))


def prove(evidence, example, times, period):
    """Cycles for all step sizes from times[0]/λ to times[1]/λ; and iterates on the one in the middle."""
    points, shares = example.data_set.floats
    at, top = minimum(points, shares, np.array(example.near))
    bounds = Fraction(times[0]), Fraction(times[1])
    certificate = prove_logistic_cycle(example.data_set, period, bounds, example.start, at)
    theorem = {
        "kind": "logistic-cycle",
        "points": [list(point) for point in example.points],
        "weights": list(example.weights),
        "period": str(period),
        "times": list(times),
    }
    evidence.proved(f"from {times[0]}/λ to {times[1]}/λ a cycle of period {period} attracts", certificate, theorem)
    middle = float(sum(bounds)) / 2 / top
    return np.asarray(descend(np.array(example.start), points, shares, middle, 3000, records=7))


RANGES = [  # of step sizes in units of 1/λ; each begins where the one before it ends
    ((100000, 20), ("1.02", "1.22")),
    ((1000, 10), ("1.22", "1.33")),
    ((3000, 10), ("1.33", "1.51")),
    ((1000, 8), ("1.51", "1.72")),
    ((100000, 12), ("1.72", "2.00")),
]

stable_cycle = Claim(
    "logistic/stable-cycle",
    source=SOURCE,
    printed=(
        r"for all step sizes between $1/\lambda$ and the critical step size $2/\lambda$, one can construct a dataset"
        r" such that GD converges to a stable cycle. [In one dimension, $\lambda$ being the largest eigenvalue of "
        r"the Hessian at the solution. Proved for all step sizes from $1.02/\lambda$ to $2/\lambda$, by five data "
        "sets.]"
    ),
    expected="holds",
)


@stable_cycle.check(
    proves=True,
    case=RANGES,
    controls={
        "from 1/λ on": dict(case=((100000, 20), ("1.00", "1.02"))),
        "period 2": dict(period=2),
        "an outlier far from the balance": dict(case=((1000, 1200), ("1.02", "1.22"))),
    },
)
def test_an_outlier_makes_a_cycle_of_three(evidence, case, period=3):
    """2M + k samples at 1 and one at -M: the outlier stops descent just right of 0, where the others pull it along.

    One step from left of 0 leads far beyond the minimum, a second half-way back, a third to where it began: on the way
    the outlier is a constant pull, and at the first point none. The cycles are not of period two, but of three, and
    attract within a few steps, F' being small at 0 for step sizes near 4. The five ranges leave no gap.
    """
    (size, further), times = case
    path = prove(evidence, outlier(size, further), times, period)
    evidence.series(f"eta λ in {times[0]}..{times[1]}", np.arange(7), path[:, 0], axes=("step", "w"))


@stable_cycle.check(controls={"without the second range": dict(left_out=1)})
def test_the_ranges_leave_no_gap(evidence, left_out=None):
    kept = [times for k, (_, times) in enumerate(RANGES) if k != left_out]
    ends = [float(high) for _, high in kept]
    evidence.equal("where each begins, and the end", [*(float(low) for low, _ in kept[1:]), 2.0], ends)
    evidence.equal("where the first begins", float(kept[0][0]), 1.02)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, 0, None))
def tail(start, size, share, eta, steps):
    """The last 120 of so many steps with a share of the weight at -size."""
    points, shares = jnp.stack([jnp.ones(1), -size[None]]), jnp.stack([1 - share, share])
    return descend(start[None], points, shares, eta, steps, records=120)[:, 0]


below_critical_1d = Claim(
    "logistic/below-critical-1d",
    source=SOURCE,
    printed=r"In one dimension, we show that a step size less than $1/\lambda$ suffices for global convergence.",
    expected="holds",
    uses=("logistic/stable-cycle",),
)


@below_critical_1d.check(times=[0.9, 0.99], controls={"2 % above": dict(times=1.02), "1.3": dict(times=1.3)})
def test_no_run_cycles_below(evidence, times):
    """Data with an outlier of 10 to 10^7 and a pull Q of 0.02 to 0.49999 at the point of balance, ten starts for each.

    What is still on its way, as far out in data that is nearly separable, moves in one direction, or was a tenth
    farther from the minimum sixty steps before, which no cycle of up to sixty is. That a grid may miss one is why no
    run replaces the proof, of which we read no more than this sentence.
    """
    evidence.requires("eta λ < 1", times < 1)
    sizes = np.geomspace(10, 1e7, 13)
    pulls = np.concatenate([np.linspace(0.02, 0.46, 23), 0.5 - np.geomspace(0.03, 1e-5, 22)])
    size, pull = (axis.ravel() for axis in np.meshgrid(sizes, pulls))
    share = pull / (size + pull)
    low, high = -40 / size, np.full_like(size, 60.0)  # the slope rises, and its zero is in between
    for _ in range(200):
        at = (low + high) / 2
        up = -(1 - share) * jax.nn.sigmoid(-at) + share * size * jax.nn.sigmoid(size * at) < 0
        low, high = np.where(up, at, low), np.where(up, high, at)

    def bend(y):
        return jax.nn.sigmoid(y) * jax.nn.sigmoid(-y)

    eta = times / np.asarray((1 - share) * bend(at) + share * size**2 * bend(size * at))
    starts = at + np.concatenate([-np.geomspace(1e-3, 3, 5), np.geomspace(1e-3, 3, 5)])[:, None] * eta
    args = [np.broadcast_to(v, starts.shape).ravel() for v in (starts, size, share, eta)]
    path = np.asarray(tail(*args, 1500))
    where = np.broadcast_to(at, starts.shape).ravel()
    moves = np.diff(path, axis=1)
    off = np.abs(path - where[:, None])
    still = off[:, -1] < 1e-9 * (1 + np.abs(where))
    one_way = (moves * np.sign(where - path[:, -1])[:, None] >= 0).all(1)
    nearer = off[:, 60:].max(1) < 0.9 * off[:, :60].max(1)
    evidence.at_most("runs that neither converge nor move one way", int((~(still | one_way | nearer)).sum()), 0)


SMALL = Example(
    (("0.8", "-0.14"), ("0.93", "0.43"), ("-33", "3.9"), ("-31", "0.59")),
    ("500", "750", "11", "10"),
    (0.3, 4.2),
    (0.652, 5.238),
)
SMALLER = Example(
    (("0.534", "0.231"), ("0.379", "-0.574"), ("-93.8", "-14.5"), ("-89.2", "-18.6")),
    ("24200", "42900", "100", "127"),
    (0.68, -3.75),
    (0.83, -3.90),
)
EXAMPLES = {  # with a range of step sizes in units of 1/λ
    "outliers of 30": (SMALL, ("0.343", "0.345")),
    "outliers of 90": (SMALLER, ("0.06366", "0.06367")),
}


stable_cycle_2d = Claim(
    "logistic/stable-cycle-2d",
    source=SOURCE,
    printed=(
        r"In higher dimensions, this is actually possible even for step sizes less than $1/\lambda$. [A data set "
        r"such that GD converges to a stable cycle. In two dimensions, proved for step sizes from $0.343/\lambda$ to"
        r" $0.345/\lambda$ and about $0.06366/\lambda$.]"
    ),
    expected="holds",
)


@stable_cycle_2d.check(
    proves=True,
    data=list(EXAMPLES),
    controls={
        "2 % larger step sizes": dict(data="outliers of 90", times=("0.06493", "0.06495")),
        "half the step size": dict(times=("0.171", "0.172")),
        "period 4": dict(period=4),
    },
)
def test_two_outliers_take_turns_with_the_others(evidence, data, times=None, period=2):
    """On the cycle both outliers are met, then neither; at the minimum one of them is, and that one wholly.

    There both are far from their lines, and the Hessian is mostly what the other samples make of it. These were found
    by a search that began with an outlier split in two and lowered eta λ by changing the data a little at a time; of 12
    000 random sets of four samples at 0.95/λ, with eight starts each, none had a cycle. It went on to 0.019/λ with five
    samples, which was followed with 40 digits.
    """
    example, own = EXAMPLES[data]
    times = times or own
    path = prove(evidence, example, times, period)
    points, _ = example.data_set.floats
    axes = ("step", "margin of an outlier")
    for number in (2, 3):
        evidence.series(
            f"outlier {number - 1}, eta λ in {times[0]}..{times[1]}", np.arange(7), path @ points[number], axes=axes
        )


@stable_cycle_2d.check(controls={"the cycle of another step size": dict(times=0.5)})
def test_starts_near_the_minimum_converge_and_others_cycle(evidence, times=1.0):
    points, shares = SMALL.data_set.floats
    at, top = minimum(points, shares, np.array(SMALL.near))
    eta = times * 2.567
    evidence.at_most("eta λ", eta * top, 0.344)
    near = np.asarray(descend(at + 1e-3, points, shares, eta, 20_000))[0]
    evidence.close("from near by, distance from the minimum", np.linalg.norm(near - at), 0.0, 1e-8)
    far = np.asarray(descend(np.array(SMALL.start), points, shares, eta, 20_000, records=3))
    evidence.at_least("from elsewhere, the length of a step", np.linalg.norm(far[1] - far[0]), 0.6)
    evidence.close("from elsewhere, that of two", np.linalg.norm(far[2] - far[0]), 0.0, 1e-10)
